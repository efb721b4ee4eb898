"""Nodes whose primary keys are UUIDs, texts and small integers."""

from uuid import uuid4

import pytest
from odd.models import Short, Stone, Word

from pcf.execution.nodes import make_node_id

pytestmark = pytest.mark.django_db(transaction=True)

NODES = """query ($ids: [ID!]!) {
    nodes(nodeIds: $ids) {
        __typename nodeId
        ... on StoneNode { label } ... on WordNode { label } ... on ShortNode { label }
    }
}"""


def node_id(row):
    return make_node_id(f"{type(row).__name__}Node", row.pk)


@pytest.mark.parametrize("key", ["plain", "a:b", "\U0001f600 \n", "", "x" * 200])
def test_nodes_with_keys_of_any_type(ask, key):
    word = Word.objects.create(pk=key, label="word")
    stone, short = (
        Stone.objects.create(set_id=uuid4(), label="stone"),
        Short.objects.create(label="short"),
    )
    ids = list(map(node_id, (word, short, stone, word)))
    for stored in (True, True, False):
        found = ask(NODES, {"ids": ids}, stored=stored).data["nodes"]
        assert [node["nodeId"] for node in found] == ids
        assert [node["label"] for node in found] == ["word", "short", "stone", "word"]
    Word.objects.filter(pk=key).update(label="another")
    assert ask(NODES, {"ids": ids}).data["nodes"][0]["label"] == "another"
    query = "query ($id: ID!) { node(nodeId: $id) { nodeId __typename } }"
    expected = {"nodeId": ids[2], "__typename": "StoneNode"}
    assert ask(query, {"id": ids[2]}).data["node"] == expected


def test_a_spelling_that_no_node_has(ask):
    stone, short = Stone.objects.create(set_id=uuid4()), Short.objects.create()
    ids = [
        make_node_id("StoneNode", stone.pk.hex),
        make_node_id("StoneNode", str(stone.pk).upper()),
        make_node_id("StoneNode", "x"),
        make_node_id("WordNode", "a\0"),
        make_node_id("ShortNode", f"0{short.pk}"),
        make_node_id("ShortNode", 2**15),
        make_node_id("Stone", stone.pk),
    ]
    assert ask(NODES, {"ids": ids}).data["nodes"] == [None] * len(ids)
