"""The audit of dependencies sees what it is there to see."""

import shutil
from pathlib import Path

import pytest

from scripts.audit import DEVELOPMENT, OTHERS, ROOT, SERVICE, bad_entries, complaints, main

A, B = "a" * 64, "b" * 64
GOOD = f"""one==1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via -r requirements.in
Two_Words==2.0 ; python_version < '3' \\
    --hash=sha256:{A}
"""


def test_good_files_have_nothing_to_complain_of():
    assert not list(complaints(GOOD, GOOD, {"one": "1.0", "pip": "9"}))
    assert not list(complaints(GOOD, GOOD, {"one": "1.0", "two-words": "2.0"}))
    assert not list(bad_entries("x.txt", GOOD))


@pytest.mark.parametrize(
    ("service", "development", "installed", "said"),
    [
        (GOOD, GOOD, {}, "one is not installed"),
        (GOOD, GOOD, {"one": "1.1"}, "one: 1.0 is pinned, 1.1 is installed"),
        (GOOD, GOOD, {"one": "1.0", "evil": "6"}, "evil is installed but not pinned"),
        (GOOD.replace("1.0", "1.1"), GOOD, {"one": "1.0"}, "one: requirements.txt and"),
    ],
)
def test_what_is_wrong_is_said(service, development, installed, said):
    assert any(line.startswith(said) for line in complaints(service, development, installed))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("three==1.0\n", "three has no hash"),
        ("three>=1\n", "not a pinned version: three>=1"),
        ("https://x/y.whl\n", "not a pinned version: https://x/y.whl"),
        ("three @ https://x/y.whl\n", "not a pinned version: three @ https://x/y.whl"),
        ("--index-url https://x\n", "not a pinned version: --index-url https://x"),
    ],
)
def test_an_entry_that_cannot_be_trusted_is_said(entry, said):
    assert list(bad_entries("x.txt", GOOD + entry)) == [f"x.txt: {said}"]


def test_every_requirements_file_of_the_project_is_looked_at():
    found = {
        str(path.relative_to(ROOT))
        for pattern in ("requirements*.txt", "*/requirements*.txt", "*/*/requirements*.txt")
        for path in ROOT.glob(pattern)
        if not path.relative_to(ROOT).parts[0].startswith(".")
    }
    assert found == {SERVICE, DEVELOPMENT, *OTHERS}


@pytest.mark.parametrize("changed", [SERVICE, DEVELOPMENT, *OTHERS])
def test_a_pin_without_a_hash_is_found_in_every_file(tmp_path: Path, capsys, changed):
    for name in (SERVICE, DEVELOPMENT, *OTHERS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / changed).open("a") as file:
        file.write("evil==6.6\n")
    assert main(tmp_path) == 1
    assert f"{changed}: evil has no hash\n" in capsys.readouterr().err
