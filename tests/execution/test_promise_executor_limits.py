"""The promise executor limits the number of items in all lists together."""

import pytest
from graphql import build_schema, parse
from promise import Promise

from pcf.database.query_log import count_queries, current_log
from pcf.errors import ResponseTooLarge
from pcf.execution.executor import execute_with_promises
from pcf.timeouts import DeadlineExceeded

SCHEMA = build_schema("type Query { xs: [Int], y: Y } type Y { z: Int }")


def test_one_item_more_is_an_error_of_the_whole_operation():
    document, root = parse("{ xs }"), {"xs": [1, 2, 3]}
    fine = execute_with_promises(SCHEMA, document, root_value=root, max_items=3)
    assert fine.data == root
    with pytest.raises(ResponseTooLarge):
        execute_with_promises(SCHEMA, document, root_value=root, max_items=2)


def test_the_executor_begins_no_field_after_the_limit():
    called = []

    def later(_):
        waited = Promise.resolve(None).then(lambda _: None).then(lambda _: None)
        return waited.then(lambda _: {"z": lambda _: called.append("z")})

    root = {"xs": Promise.resolve([1, 2, 3]), "y": later}
    with pytest.raises(ResponseTooLarge):
        execute_with_promises(SCHEMA, parse("{ xs y { z } }"), root_value=root, max_items=2)
    assert not called


def test_the_deadline_and_the_log_name_fields_and_no_aliases():
    document = parse("{ x: a { ...F } } fragment F on A { y: b }")
    schema = build_schema("type Query { a: [A] } type A { b: Int }")
    places = []

    def note(_info):
        places.append(current_log()._place_name())
        raise DeadlineExceeded("graphql", 1)

    with count_queries():
        execute_with_promises(schema, document, root_value={"a": [{"b": note}]})
    assert places == ["a.b"]

    checks = iter([None, DeadlineExceeded("graphql", 1)])

    def check():
        error = next(checks)
        if error is not None:
            raise error

    with pytest.raises(DeadlineExceeded) as late:
        execute_with_promises(schema, document, root_value={"a": [{"b": 1}]}, check=check)
    assert late.value.path == ["a", 0, "b"]
