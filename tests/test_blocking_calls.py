"""Every blocking call of the documentation has a test that walks it into its deadline.

Such a test has the mark ``blocks``. The hook in ``tests/conftest.py`` measures it: the test fails
when the call does not block, and when the call does not end in time.
"""

import ast
from pathlib import Path
from time import sleep

import pytest
from graphql import build_schema, parse
from promise import Promise

from pcf.execution.executor import execute
from pcf.execution.promises import promise_scope, run
from pcf.timeouts import DeadlineExceeded, TimeoutContext
from tests.conftest import check_blocking_time

TESTS = Path(__file__).parent
PAGES = TESTS.parent / "docs"
HEADER = "| blocking call |"


def listed():
    """The first column of the table."""
    (page,) = (text for page in PAGES.rglob("*.md") if HEADER in (text := page.read_text()))
    lines = page.partition(HEADER)[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append(line.split("|")[1].strip())
    raise AssertionError("the table has no end")


def walked():
    """The marks ``blocks`` of all tests: the call, and the arguments by name."""
    found = []
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                found += [
                    (mark.args[0].value, {each.arg: each.value.value for each in mark.keywords})
                    for mark in node.decorator_list
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.blocks"
                ]
    return found


def test_every_blocking_call_is_walked_into_its_deadline_by_a_test():
    assert len(listed()) > 10
    assert sorted({call for call, _ in walked()}) == sorted(listed())


def test_every_walk_has_a_lower_and_an_upper_bound():
    for call, bounds in walked():
        assert 0 < bounds["at_least"] < bounds["within"] <= 30, call


@pytest.mark.parametrize(
    ("seconds", "message"), [(0.1, "did not block"), (0.5, None), (2.0, "took 2.00 s")]
)
def test_a_walk_fails_outside_its_bounds(seconds, message):
    mark = pytest.mark.blocks("a call", at_least=0.3, within=1).mark
    if message is None:
        check_blocking_time(mark, seconds)
    else:
        with pytest.raises(AssertionError, match=message):
            check_blocking_time(mark, seconds)


@pytest.mark.blocks("executing", at_least=0.25, within=5)
def test_an_execution_ends_at_the_deadline():
    schema = build_schema("type Query { list: [Item] } type Item { a: Int }")
    items = [{"a": lambda _: sleep(0.001)} for _ in range(5_000)]
    context = TimeoutContext.start("graphql", 0.3)
    with pytest.raises(DeadlineExceeded):
        execute(schema, parse("{ list { a } }"), {"list": items}, check=context.check)


@pytest.mark.blocks("promise jobs", at_least=0.25, within=5)
def test_promise_jobs_without_an_end_stop_at_the_deadline():
    context = TimeoutContext.start("graphql", 0.3)

    def again(_):
        return Promise.resolve(None).then(again)

    with promise_scope(), pytest.raises(DeadlineExceeded):
        run(again(None), context.check)
