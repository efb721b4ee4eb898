"""Folders for servers: throw-away, for development data, and for programs that root runs."""

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

SERVER_ACCOUNTS = (
    "postgres",
    "nobody",
)  # whom servers run as when root starts them, the first that exists
ROOT_CACHE = Path(
    "/var/cache/pcf-dev"
)  # copies of server programs that live below a folder only root may enter
ROOT_DATA = Path("/var/lib/pcf-dev")  # development databases of trees that live below such a folder
PREFIX = "pcf-"  # short: a path to a socket has 107 bytes at most
LOCK = "lock"


def server_account() -> Account | None:
    """The user to run servers as, or None to stay who we are."""
    if os.geteuid() != 0:
        return None
    for name in SERVER_ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise Failure(
        f"Servers do not run as root; none of the users {', '.join(SERVER_ACCOUNTS)} exists here."
    )


def may_enter(folder: Path, account: Account) -> bool:
    """Whether the account can reach into this folder, going by its mode and all those above."""
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
    """Make a folder of root's for everybody to enter; refuse one that others can have prepared."""
    for part in (folder.parent, folder):
        part.mkdir(mode=0o755, exist_ok=True)
        info = part.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != 0 or info.st_mode & 0o022:
            raise Failure(
                f"{part} has to be a folder that belongs to root and that nobody else can write to."
            )
    return folder


def private_copy(name: str, site: Path, parts: Sequence[str]) -> Path:
    """Copy parts of site-packages to where any user can run them; return the copy's folder.

    The copy is kept, one per version of the package and per content of its file list, and appears
    only when it is complete: two processes at once make it twice, and one of them wins.
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
        with contextlib.suppress(OSError):  # the other process was quicker: its copy is as good
            unfinished.rename(done)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return done


def own(folder: Path, account: Account | None) -> Path:
    """Make a folder that belongs to the account servers run as."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account:
        os.chown(folder, account.uid, account.gid)
    return folder


def data_folder(root: Path, account: Account | None) -> Path:
    """The folder of the development databases: .pcf/data where the account can get there."""
    local = root / ".pcf"
    local.mkdir(exist_ok=True)
    if account is None or may_enter(local, account):
        return own(local / "data", account)
    # The tree lies where only root may go: a folder of its own for every such tree.
    return own(_root_folder(ROOT_DATA) / hashlib.sha256(bytes(root)).hexdigest()[:12], account)


def _base(account: Account | None) -> Path:
    """The folder for throw-away folders; not a private TMPDIR of root's."""
    base = Path(tempfile.gettempdir())
    return base if account is None or may_enter(base, account) else Path("/tmp")  # noqa: S108


@contextlib.contextmanager
def throwaway(account: Account | None) -> Iterator[Path]:
    """A new folder, removed at the end. Leftovers of killed processes are removed on the way.

    Whoever uses such a folder holds a lock inside it, so a folder whose lock is free belongs to
    nobody any more.
    """
    base = _base(account)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    folder.chmod(0o711 if account else 0o700)
    unlocked = folder / "unlocked"
    try:
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(folder / LOCK)  # only now can others see it, and it is held
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    for lock in base.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):
            info = lock.parent.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
                continue
            with lock.open() as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
