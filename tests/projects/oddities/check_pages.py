"""Pages by primary keys of any type."""

import uuid

import pytest
from django.db import connection
from odd.models import Inn, Label, Place, Short, Stone, Word

pytestmark = pytest.mark.django_db(transaction=True)


def pages(ask, field, arguments=""):
    """Return the ids of all pages, one after the other."""
    after, found = None, []
    while True:
        query = f"query($after: ID) {{ {field}(after: $after{arguments}) {{ id }} }}"
        page = [row["id"] for row in ask(query, {"after": after}).data[field]]
        assert page == [row["id"] for row in ask(query, {"after": after}, stored=False).data[field]]
        found += page
        if not page:
            return found
        after = page[-1]


def test_pages_by_uuid(ask):
    for number in range(7):
        Stone.objects.create(set_id=uuid.UUID(int=number % 2))
    stored = Stone.objects.order_by("pk").values_list("pk", flat=True)
    assert pages(ask, "stones") == [str(key) for key in stored]
    Stone.objects.create(id=uuid.UUID(int=1), set_id=uuid.uuid4())
    assert pages(ask, "stones")[0] == str(uuid.UUID(int=1))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM odd_stone WHERE id <> %s", [uuid.UUID(int=1)])
    assert pages(ask, "stones") == [str(uuid.UUID(int=1))]


def test_pages_of_a_parent_by_uuid(ask):
    sets = [uuid.uuid4(), uuid.uuid4()]
    stones = [Stone.objects.create(set_id=sets[number % 2]) for number in range(6)]
    query = "query($key: String!, $after: ID) { stone(key: $key) { ofSet(after: $after) { id } } }"

    def page(stone, after=None):
        for spelling in (str(stone.pk), stone.pk.hex.upper()):
            shown = ask(query, {"key": spelling, "after": after}).data["stone"]["ofSet"]
        return [row["id"] for row in shown]

    mine = sorted(str(stone.pk) for stone in stones if stone.set_id == sets[0])
    first = Stone.objects.get(pk=mine[0])
    assert page(first) == mine[:2]
    assert page(first, mine[1]) == mine[2:]
    Stone.objects.filter(pk=mine[2]).update(set_id=sets[1])
    assert page(first, mine[1]) == []


def test_lists_through_a_table_between(ask):
    stones = [Stone.objects.create(set_id=uuid.uuid4()) for _ in range(2)]
    labels = [Label.objects.create(code=code) for code in ("a", "bb", "ccc")]
    for stone in stones:
        stone.labels.set(labels)
    fields = "labels { code } counted { code length } labelPages { code length }"
    query = f"query($key: String!) {{ stone(key: $key) {{ {fields} }} }}"

    def shown(stone):
        first = ask(query, {"key": str(stone.pk)}).data["stone"]
        assert ask(query, {"key": str(stone.pk)}, stored=False).data["stone"] == first
        return first

    for stone in stones:
        found = shown(stone)
        assert [label["code"] for label in found["labels"]] == ["a", "bb", "ccc"]
        assert [(it["code"], it["length"]) for it in found["counted"]] == [
            ("a", 1), ("bb", 2), ("ccc", 3),
        ]  # fmt: skip
        assert found["labelPages"] == found["counted"][:2]
    stones[0].labels.remove(labels[0])
    Label.objects.filter(pk=labels[1].pk).update(code="dddd")
    assert [label["code"] for label in shown(stones[0])["labels"]] == ["dddd", "ccc"]
    assert [label["length"] for label in shown(stones[1])["counted"]] == [1, 4, 3]


def test_pages_of_children_by_the_key_of_the_parent(ask):
    Place.objects.create(name="no inn")
    inns = [Inn.objects.create(name=f"inn {number}") for number in range(5)]
    query = "query($after: ID) { inns(after: $after) { name } }"
    for after, expected in ((None, [0, 1]), (inns[1].pk, [2, 3]), (inns[3].pk, [4])):
        names = [{"name": f"inn {number}"} for number in expected]
        assert ask(query, {"after": after}).data == {"inns": names}
    Place.objects.filter(pk=inns[4].pk).update(name="new")
    assert ask(query, {"after": inns[3].pk}).data == {"inns": [{"name": "new"}]}
    answer = ask(query, {"after": "x"})
    assert answer.content["errors"][0]["message"] == "'after' must be the id of a row"


def test_pages_by_text(ask):
    for key in ("0", "", "a", "B", "ä", "a|b", "a\nb", "05", "5", "%", "'", "日本"):
        Word.objects.create(id=key)
    expected = list(Word.objects.order_by("pk").values_list("pk", flat=True))
    assert pages(ask, "words") == expected
    assert pages(ask, "words", ", first: 1") == expected


def test_pages_by_small_integers(ask):
    for _ in range(5):
        Short.objects.create()
    expected = [str(key) for key in Short.objects.order_by("pk").values_list("pk", flat=True)]
    assert pages(ask, "shorts") == expected
    for after in ("40000", "3000000000", "9223372036854775807"):
        for _ in range(3):
            answer = ask(f'{{ shorts(after: "{after}") {{ id }} }}', stored=False)
            assert answer.data == {"shorts": []}


@pytest.mark.parametrize(("field", "after"), [("stones", "x"), ("stones", "0"), ("stones", "")])
def test_a_cursor_that_is_no_key_is_refused(ask, field, after):
    answer = ask(f'{{ {field}(after: "{after}") {{ id }} }}')
    (error,) = answer.content["errors"]
    assert error["message"] == "'after' must be the id of a row"


def test_arguments_with_the_names_of_options_reach_the_loader(ask):
    query = (
        '{ named(size: "s", required: true, key: "k", description: "d", many: 2, first: 3,'
        ' loader: "l", type_: "t", self: "f", info: "i", parent: "p", route: "r") { id } }'
    )
    key = (
        "description=d|first=3|info=i|key=k|loader=l|many=2|parent=p|required=True|route=r|self=f"
        "|size=s|type_=t"
    )
    Word.objects.create(id=key)
    assert ask(query).data == {"named": {"id": key}}
