"""The table of blocking calls in docs/architecture.md, and the tests that walk each of them."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "architecture.md"


def listed():
    """The first column of the table."""
    lines = PAGE.read_text().partition("| blocking call |")[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append(line.split("|")[1].strip())
    raise AssertionError("the table has no end")


def walked():
    """The calls that a test is marked with."""
    mark = re.compile(r'^@pytest\.mark\.blocks\("([^"]+)"\)', re.MULTILINE)
    files = sorted(TESTS.rglob("test_*.py"))
    return [call for file in files for call in mark.findall(file.read_text())]


def test_every_blocking_call_is_walked_into_its_deadline_by_a_test():
    assert len(listed()) > 10
    assert sorted(set(walked())) == sorted(listed())
