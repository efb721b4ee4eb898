"""The bookstore: a project that has nothing of this repository but the engine's wheel."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.databases import throwaway_database

ROOT = Path(__file__).resolve().parents[2]
BOOKSTORE = Path(__file__).parent / "bookstore"

SAMPLE = """
from django.contrib.auth.models import User
from books.models import Author, Book, Genre, Review
from bookstore.credentials import token_for

author = Author.objects.create(name="Ada Ray")
genres = [Genre.objects.create(name=name) for name in ("Essay", "History")]
for number in range(1, 4):
    book = Book.objects.create(title=f"Book {number}", author=author)
    book.genres.add(*genres)
Book.objects.create(title="A draft", author=author, is_published=False)
Book.objects.create(title="Book 5", author=Author.objects.create(name="Leo Hill"))
staff = User.objects.create_superuser("staff", password="staff")
reader = User.objects.create_user("reader")
print(token_for(reader), token_for(staff))
"""


@dataclass
class Bookstore:
    """The running bookstore."""

    python: Path
    environment: dict[str, str]
    token: str = ""
    staff_token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def ask(self, query: str, token: str | None = None) -> tuple[Any, str]:
        """Return the decoded answer to ``query``, and its Cache-Status."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/api/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read()), response.headers["Cache-Status"]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return bytes(response.read())

    def manage(self, *arguments: str, text: str | None = None, **variables: str) -> str:
        """Run a command of the bookstore and return what it prints."""
        environment = {**self.environment, **variables}
        return run(self.python, ["manage.py", *arguments], environment, text)


def run(python: Path, arguments: list[str], environment: dict[str, str], text: str | None) -> str:
    done = subprocess.run(
        [python, *arguments], cwd=BOOKSTORE, env=environment, input=text,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's wheel, built from this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", folder, ROOT],
        check=True, timeout=120,
    )  # fmt: skip
    (built,) = folder.glob("pcf-*.whl")
    return built


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel and what the wheel depends on.

    ``BOOKSTORE_PYTHON`` names one into which pip has installed the wheel with its dependencies
    (``make check-package``). Otherwise the dependencies are those of this environment.
    """
    if given := os.environ.get("BOOKSTORE_PYTHON"):
        return Path(given)
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    zipfile.ZipFile(wheel).extractall(packages)
    # The commands of the bookstore write no bytecode, so each of them would compile the engine.
    compile_all = [sys.executable, "-m", "compileall", "-q", packages]
    subprocess.run(compile_all, check=True, timeout=60)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = ("PCF_", "PROMETHEUS_", "DJANGO_", "PYTHONPATH")
    with throwaway_database("bookstore") as address:
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "DATABASE_URL": address,
            "REDIS_URL": settings.REDIS_URL,
            "PCF_CACHE_PREFIX": f"{settings.PCF.cache.prefix}-bookstore",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


@pytest.fixture(scope="session")
def bookstore(python: Path, environment: dict[str, str]) -> Iterator[Bookstore]:
    """The bookstore behind gunicorn, with four published books and a draft, number 4."""
    shop = Bookstore(python, environment)
    shop.manage("migrate")
    tokens = shop.manage("shell", "--verbosity=0", text=SAMPLE).split()
    shop.token, shop.staff_token = tokens[-2:]
    with tempfile.TemporaryFile() as log:
        gunicorn = [python, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
        process = subprocess.Popen(gunicorn, cwd=BOOKSTORE, env=environment, stderr=log)
        try:
            _wait_until_ready(shop, process)
            yield shop
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_until_ready(shop: Bookstore, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None
        try:
            shop.get("/readyz")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the bookstore did not become ready in 30 seconds")
