"""How many items an operation without a plan may have in its lists."""

import pytest
from graphql import build_schema, parse
from promise import Promise

from pcf.errors import ResponseTooLarge
from pcf.execution.context import execute_with_promises

SCHEMA = build_schema("type Query { xs: [Int], y: Y } type Y { z: Int }")


def test_one_item_more_is_an_error_of_the_whole_operation():
    document, root = parse("{ xs }"), {"xs": [1, 2, 3]}
    fine = execute_with_promises(SCHEMA, document, root_value=root, max_items=3)
    assert fine.data == root
    with pytest.raises(ResponseTooLarge):
        execute_with_promises(SCHEMA, document, root_value=root, max_items=2)


def test_nothing_more_is_begun_after_it():
    called = []

    def later(_):
        waited = Promise.resolve(None).then(lambda _: None).then(lambda _: None)
        return waited.then(lambda _: {"z": lambda _: called.append("z")})

    root = {"xs": Promise.resolve([1, 2, 3]), "y": later}
    with pytest.raises(ResponseTooLarge):
        execute_with_promises(SCHEMA, parse("{ xs y { z } }"), root_value=root, max_items=2)
    assert not called
