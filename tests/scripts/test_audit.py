"""The audit of dependencies finds every kind of problem."""

import shutil
from pathlib import Path

import pytest

from scripts.audit import (
    ALONE,
    DEVELOPMENT,
    FILES,
    ROOT,
    bad_entries,
    disagreements,
    installation,
    main,
)
from scripts.requirements import preferences

A, B = "a" * 64, "b" * 64
GOOD = f"""one==1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via -r requirements.in
Two_Words==2.0 ; python_version < '3' \\
    --hash=sha256:{A}
"""


def test_good_files_have_no_problems():
    assert not list(installation(GOOD, {"one": "1.0", "pip": "9"}))
    assert not list(installation(GOOD, {"one": "1.0", "two-words": "2.0"}))
    assert not list(disagreements({DEVELOPMENT: GOOD, "requirements.txt": GOOD}))
    assert not list(bad_entries("x.txt", GOOD))


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({}, "one is not installed"),
        ({"one": "1.1"}, "one: 1.0 is pinned, 1.1 is installed"),
        ({"one": "1.0", "evil": "6"}, "evil is installed but not pinned"),
    ],
)
def test_a_difference_to_the_installation_is_found(installed, said):
    assert said in list(installation(GOOD, installed))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {DEVELOPMENT: GOOD, "requirements.txt": GOOD.replace("1.0", "1.1")},
            ["one: requirements.txt pins 1.1, another file 1.0"],
        ),
        (
            {DEVELOPMENT: GOOD, "requirements-otel.txt": GOOD + "three==3\n"},
            ["three: requirements-otel.txt has it, requirements-dev.txt does not"],
        ),
        (
            {DEVELOPMENT: GOOD, "a.txt": "three==3\n", "b.txt": "three==4\n"},
            ["three: b.txt pins 4, another file 3"],
        ),
    ],
)
def test_files_that_pin_different_versions_are_found(files, said):
    assert list(disagreements(files)) == said


def test_the_file_with_an_environment_of_its_own_may_pin_other_versions():
    other = GOOD.replace("1.0", "1.1").replace(f"    --hash=sha256:{A} \\\n", "", 1)

    assert not list(disagreements({DEVELOPMENT: GOOD, ALONE: other}))
    assert not list(bad_entries(ALONE, other))
    assert list(bad_entries(ALONE, "one==1.1\n")) == [f"{ALONE}: one has no hash"]


def test_the_first_file_is_preferred_when_pins_are_resolved_again():
    second = GOOD.replace("1.0", "1.1") + "three==3\n"
    assert (
        preferences(GOOD, second) == "one==1.0\nthree==3\ntwo-words==2.0 ; python_version < '3'\n"
    )


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
def test_an_entry_that_is_no_hashed_pin_is_found(entry, said):
    assert list(bad_entries("x.txt", GOOD + entry)) == [f"x.txt: {said}"]


def test_the_audit_covers_every_requirements_file():
    found = {
        str(path.relative_to(ROOT))
        for pattern in ("requirements*.txt", "*/requirements*.txt", "*/*/requirements*.txt")
        for path in ROOT.glob(pattern)
        if not path.relative_to(ROOT).parts[0].startswith(".")
    }
    assert found == set(FILES)


@pytest.mark.parametrize("changed", FILES)
def test_a_pin_without_a_hash_is_found_in_every_file(tmp_path: Path, capsys, changed):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / changed).open("a") as file:
        file.write("evil==6.6\n")
    assert main(tmp_path) == 1
    assert f"{changed}: evil has no hash\n" in capsys.readouterr().err
