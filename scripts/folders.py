"""The folders of servers: throw-away folders, development data, copies of programs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.supervise import Account, Failure

# users that servers run as when root starts them; the first one that exists
SERVER_ACCOUNTS = ("postgres", "nobody")
# for server programs in a folder that only root may enter
ROOT_CACHE = Path("/var/cache/pcf-dev")
# for the development databases of a project in such a folder
ROOT_DATA = Path("/var/lib/pcf-dev")
PREFIX = "pcf-"  # short, because the path of a socket has 107 bytes at most
LOCK = "lock"


def server_account() -> Account | None:
    """Return the user to run servers as; None stands for the caller. Raises Failure."""
    if os.geteuid() != 0:
        return None
    for name in SERVER_ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise Failure(
        f"Servers do not run as root, and none of the users {', '.join(SERVER_ACCOUNTS)} exists."
    )


def may_enter(folder: Path, account: Account) -> bool:
    """Return whether the modes of the folder and its parents let the account enter it."""
    folder = folder.resolve()
    for part in (folder, *folder.parents):
        info = part.stat()
        bit = (
            0o100 if info.st_uid == account.uid else 0o010 if info.st_gid == account.gid else 0o001
        )
        if not info.st_mode & bit:
            return False
    return True


def _root_folder(folder: Path) -> Path:
    """Make a folder of root that every user may enter. Raises Failure if others may write to it."""
    for part in (folder.parent, folder):
        part.mkdir(mode=0o755, exist_ok=True)
        info = part.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != 0 or info.st_mode & 0o022:
            raise Failure(
                f"{part} must be a folder that belongs to root and that only root can write to."
            )
    return folder


def private_copy(name: str, site: Path, parts: Sequence[str]) -> Path:
    """Copy parts of site-packages to a folder where every user may run them; return the folder.

    There is one copy for each version of the package and content of its file list. A copy appears
    when it is complete, so several processes may call this at the same time.
    """
    record = next(site.glob(f"{name.rsplit('-', 1)[0].replace('-', '_')}-*.dist-info/RECORD"))
    folder = _root_folder(
        ROOT_CACHE / f"{name}-{hashlib.sha256(record.read_bytes()).hexdigest()[:12]}"
    )
    done = folder / "programs"
    if done.is_dir():
        return done
    unfinished = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    try:
        for part in parts:
            shutil.copytree(
                site / part,
                unfinished / part,
                symlinks=True,
                ignore=shutil.ignore_patterns("include"),
            )
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode & 0o700
                path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
        with contextlib.suppress(OSError):  # another process has made the same copy
            unfinished.rename(done)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return done


def own(folder: Path, account: Account | None) -> Path:
    """Make a folder that belongs to ``account``; return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def data_folder(root: Path, account: Account | None) -> Path:
    """Return the folder of development databases: .pcf/data if the account may enter it."""
    local = root / ".pcf"
    local.mkdir(exist_ok=True)
    if account is None or may_enter(local, account):
        return own(local / "data", account)
    # Only root may enter the project, so each project gets a folder in ROOT_DATA.
    return own(_root_folder(ROOT_DATA) / hashlib.sha256(bytes(root)).hexdigest()[:12], account)


def _base(account: Account | None) -> Path:
    """Return the folder for throw-away folders, which the account must be able to enter."""
    base = Path(tempfile.gettempdir())
    return base if account is None or may_enter(base, account) else Path("/tmp")  # noqa: S108


@contextlib.contextmanager
def throwaway(account: Account | None) -> Iterator[Path]:
    """Make a folder and remove it at the end; also remove the folders of killed processes.

    The user of a folder holds a lock inside it. A folder with a free lock is a leftover.
    """
    base = _base(account)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    folder.chmod(0o711 if account else 0o700)
    unlocked = folder / "unlocked"
    try:
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(folder / LOCK)  # other processes see the lock only now, when it is held
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Remove the folders whose locks are free."""
    for lock in base.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):
            info = lock.parent.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
                continue
            with lock.open() as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
