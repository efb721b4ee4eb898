"""Random operations have the same result whether plain fields wait for statements or not."""

import json
from random import Random

import pytest
from graphql import GraphQLEnumType, get_named_type, is_leaf_type, parse, validate

from pcf.execution import columns
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute_with_promises
from pcf.execution.nodes import make_node_id
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS
from tests.execution.comparison import assert_same
from tests.execution.test_executor_waiting import every_batch_is_large, run  # noqa: F401 - autouse

SCHEMA = schema.graphql_schema
CONDITIONS = ("", "", "", " @include(if: true)", " @skip(if: true)")


def selection(random, parent, depth, nodes):
    """Return a random selection set of ``parent``; ``depth`` is the number of levels below it."""
    fields = SCHEMA.type_map[parent].fields
    leaves = [name for name, field in fields.items() if is_leaf_type(get_named_type(field.type))]
    lists = [name for name in ("notes", "users", "author", "tags", "nodes") if name in fields]
    chosen = []
    for number in range(random.randint(1, 5)):
        condition = random.choice(CONDITIONS)
        if leaves and random.random() < 0.15:
            on = random.choice(("Note", "User", "Tag") if parent == "Node" else (parent, "Node"))
            chosen.append(f"... on {on}{condition} {selection(random, on, depth, nodes)}")
        elif not leaves or (lists and depth and random.random() < 0.5):
            name = random.choice(lists)
            arguments = {"nodes": f"(nodeIds: {json.dumps(nodes)})", "author": ""}
            page = arguments.get(name, f"(first: {random.randint(1, 3)})")
            inner = selection(random, get_named_type(fields[name].type).name, depth - 1, nodes)
            alias = f"{name}{random.randint(0, 10**6)}"
            chosen.append(f"{alias}: {name}{page}{condition} {inner}")
        else:
            name = random.choice([*leaves, "__typename"])
            chosen.append(f"{random.choice(['', f'{name}{number}: '])}{name}{condition}")
    return f"{{ {' '.join(chosen)} }}"


@pytest.mark.parametrize("names", ["String", "OnlyRed"])
def test_random_operations_have_the_same_result(live_world, monkeypatch, names):
    type_ = GraphQLEnumType(names, {"RED": "red"}) if names == "OnlyRed" else SCHEMA.type_map[names]
    monkeypatch.setattr(SCHEMA.type_map["Tag"].fields["name"], "type", type_)
    rows = {"Note": live_world.public, "User": live_world.ann, "Tag": live_world.red}
    nodes = [make_node_id(name, row.pk) for name, row in rows.items()] + ["x"]
    texts = [f"{selection(Random(seed), 'Query', 3, nodes)} # {names}" for seed in range(50)]
    for text in [text for text in texts if not validate(SCHEMA, parse(text))]:
        context = RequestContext(ANONYMOUS)
        promised = execute_with_promises(SCHEMA, parse(text), context_value=context)
        monkeypatch.setattr(columns, "LARGE_BATCH", 10**9)
        expected = run(text)
        monkeypatch.setattr(columns, "LARGE_BATCH", 1)
        assert_same(run(text, 2), expected)
        assert json.dumps(expected.data) == json.dumps(promised.data), text
