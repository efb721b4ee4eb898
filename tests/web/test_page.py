"""The page of the notes application, and its files."""

import hashlib
import re
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage
from django.test import Client

from web.storage import ModuleStaticFilesStorage

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "web" / "static" / "web"
VENDOR = FOLDER / "vendor"
AXE = ROOT / "tests" / "browser" / "axe"
OWN = sorted(FOLDER.glob("*.js"))
MAX_LINES, MAX_ALL_LINES = 300, 1_200


def vendored(folder: Path) -> list[list[str]]:
    lines = (folder / "VERSIONS").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def test_page_is_the_same_for_everybody():
    page = Client().get("/")

    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-cache"
    assert not page.cookies
    assert "script-src 'self'; style-src 'self';" in page.headers["Content-Security-Policy"]


def test_page_has_no_inline_code_and_nothing_from_elsewhere():
    text = Client().get("/").content.decode()

    assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
    assert not re.search(r"<style|\son\w+=|\sstyle=", text)
    assert {
        url.startswith("/static/web/") for url in re.findall(r'(?:src|href)="(.*?)"', text)
    } == {True}


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_page_is_only_read(method):
    assert getattr(Client(), method)("/").status_code == 405


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_modules_import_files_that_exist(path):
    imported = re.findall(r'from "(.*?)"', path.read_text())

    assert [name for name in imported if not (FOLDER / name).is_file()] == []


def test_application_is_short():
    lines = {path.name: len(path.read_text().splitlines()) for path in OWN}

    assert [name for name, count in lines.items() if count > MAX_LINES] == []
    assert sum(lines.values()) <= MAX_ALL_LINES


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_text_becomes_html(path):
    text = path.read_text()

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


@pytest.mark.parametrize(
    ("folder", "entry"),
    [(folder, entry) for folder in (VENDOR, AXE) for entry in vendored(folder)],
    ids=lambda value: value[3] if isinstance(value, list) else value.name,
)
def test_vendored_file_is_the_one_that_versions_names(folder, entry):
    assert hashlib.sha256((folder / entry[3]).read_bytes()).hexdigest() == entry[4]


@pytest.mark.parametrize("folder", [VENDOR, AXE], ids=lambda folder: folder.name)
def test_folders_hold_what_versions_names_and_nothing_else(folder):
    names = {path.name for path in folder.iterdir()}

    assert names == {"VERSIONS"} | {entry[3] for entry in vendored(folder)}


def test_static_files_have_hashed_names_in_imports_too(tmp_path):
    """Production renames the files by their content, which fails on references to other files."""
    sources = FileSystemStorage(location=FOLDER.parent)
    names = [str(path.relative_to(FOLDER.parent)) for path in FOLDER.rglob("*.*")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((FOLDER.parent / name).read_bytes())
    storage = ModuleStaticFilesStorage(location=tmp_path, base_url="/static/")

    results = list(storage.post_process({name: (sources, name) for name in names}))

    assert [str(outcome) for *_, outcome in results if isinstance(outcome, Exception)] == []
    imported = set()
    for path in OWN:
        module = tmp_path / storage.hashed_files[f"web/{path.name}"]
        for name in re.findall(r'from "(.*?)"', module.read_text()):
            imported.add(
                (module.parent / name).resolve().relative_to(tmp_path.resolve()).as_posix()
            )
    assert len(imported) == len(OWN) + 1  # with two vendored ones, without app.js
    assert imported <= set(storage.hashed_files.values())


def test_production_has_the_storage_for_modules():
    text = (ROOT / "settings" / "production.py").read_text()

    assert f'"{ModuleStaticFilesStorage.__module__}.{ModuleStaticFilesStorage.__name__}"' in text
