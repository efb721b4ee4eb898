"""The guides, followed literally."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects.conftest import BOOKSTORE, ROOT

GUIDES = ROOT / "docs" / "guide"
STEP = re.compile(
    r"^(?P<verb>Create |Change |)`(?P<path>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COPIED = (
    "manage.py", "Makefile", "pyproject.toml", "schema.graphql", "requirements.in",
    "pcf", "users", "tags", "notes", "web", "settings", "tests", "docs", "scripts",
)  # fmt: skip
# tests of the suite that see the new app, too
SEE_EVERY_APP = (
    "tests/notes/test_seeding.py",
    "tests/cache/test_trigger_installation.py::test_every_declared_table_has_its_triggers",
    "tests/database/test_query_log_n_plus_one.py::test_every_edge_of_the_schema_has_such_a_test",
    "tests/test_checks.py::test_this_project_has_no_wrong_name",
    "tests/project/test_schema.py::test_everything_has_a_description",
)

# The guide changes neither the other mutations nor their payloads; the suite itself tests them.
CHANGED = "not test_mutations or Notebook or updateNote or updateProfile"


@dataclass(frozen=True)
class Step:
    """A file that a guide has its reader write, or change."""

    path: str
    text: str
    is_change: bool


def steps(name: str) -> list[Step]:
    found = STEP.finditer((GUIDES / name).read_text())
    return [Step(each["path"], each["text"], each["verb"] == "Change ") for each in found]


def change(text: str, diff: str) -> str:
    """Return ``text`` with the hunks of ``diff``, between which stand lines of dots."""
    for hunk in re.split(r"^\.\.\.\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(before) == 1, f"the guide changes what is not there:\n{before}"
        text = text.replace(before, after)
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of this project in which the guide *Add a type* has been followed."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source = ROOT / name
        ignored = shutil.ignore_patterns(
            "__pycache__", "clients", "end_to_end", "differential", "projects"
        )
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "__init__.py").touch()
    for step in steps("add-a-type.md"):
        path = folder / step.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(change(path.read_text(), step.text) if step.is_change else step.text)
    return folder


def run_in(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"DJANGO_SETTINGS_MODULE": "settings.test", "PCF_TEST_RUN_ID": f"g{os.getpid()}"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_type_is_added_as_the_guide_says(copy):
    run_in(copy, "manage.py", "makemigrations", "notebooks")
    run_in(copy, "manage.py", "export_schema")
    assert "type Notebook" in (copy / "schema.graphql").read_text()
    told = run_in(
        copy, "-m", "pytest", "tests/notebooks", "tests/policy", *SEE_EVERY_APP, "-k", CHANGED,
        "-q", "-n", "0",
    )  # fmt: skip
    assert re.search(r"^\d+ passed", told, re.MULTILINE)


def test_what_the_guide_writes_is_clean(copy):
    run_in(
        copy, "-m", "ruff", "check", "--no-cache", "notebooks", "tests/notebooks", "tests/policy"
    )
    run_in(copy, "-m", "ruff", "format", "--no-cache", "--check", "notebooks", "tests/notebooks")


def test_the_bookstore_is_the_guides():
    shown: dict[str, str] = {}
    for step in (*steps("use-pcf.md"), *steps("add-a-connection.md")):
        text = change(shown[step.path], step.text) if step.is_change else step.text
        shown[step.path] = text
    assert len(shown) == 15
    for path, text in shown.items():
        assert (BOOKSTORE / path).read_text() == text, f"the guides show another {path}"
    written = {
        str(path.relative_to(BOOKSTORE))
        for path in BOOKSTORE.rglob("*.py")
        if path.name != "__init__.py" and "migrations" not in path.parts
    }
    assert written == set(shown)
