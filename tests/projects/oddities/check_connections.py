"""Connections of rows whose primary keys are UUIDs and texts, sorted by columns of every type."""

import json
import uuid
from base64 import urlsafe_b64encode
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core.checks import run_checks
from odd.models import OWNERS, Label, Stone, Word

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "nodes { id } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
ARGUMENTS = "first: $first, last: $last, after: $after, before: $before, orderBy: $order"


def variables_of(type_):
    return (
        f"$first: Int, $last: Int, $after: String, $before: String, $order: [{type_}Order!], "
        f"$filter: {type_}Filter"
    )


def walk(read, count, *, backward=False):
    """Return the ids of all pages of ``count`` rows. ``read(variables)`` returns a page."""
    size, bound, cursor = ("last", "before", "startCursor") if backward else (
        "first", "after", "endCursor")  # fmt: skip
    more, others = ("hasPreviousPage", "hasNextPage") if backward else (
        "hasNextPage", "hasPreviousPage")  # fmt: skip
    found, place = [], None
    while True:
        page = read({size: count, bound: place})
        ids = [node["id"] for node in page["nodes"]]
        assert page["pageInfo"][others] is (place is not None)
        found = ids + found if backward else found + ids
        assert len(found) <= page["totalCount"]
        place = page["pageInfo"][cursor]
        if not page["pageInfo"][more]:
            assert len(found) == page["totalCount"]
            return found


def reader(ask, type_, field, order=None, **filters):
    """Return a function that reads a page of a field of Query, with the cache and without."""
    arguments = f"{ARGUMENTS}, filter: $filter"
    document = f"query ({variables_of(type_)}) {{ list: {field}({arguments}) {{ {PAGE} }} }}"

    def read(variables):
        given = {"order": order, "filter": filters or None, **variables}
        page = ask(document, given).data["list"]
        assert ask(document, given, stored=False).data["list"] == page
        return page

    return read


def by(*terms):
    return [{"field": name.lstrip("-"), "direction": "DESC" if name[0] == "-" else "ASC"}
            for name in terms]  # fmt: skip


def ids_of(rows):
    return [str(row.pk) for row in rows]


def walks(read, expected):
    """Compare the pages of several sizes in both directions with the ids of all rows."""
    for count in (1, 2, 3, 100):
        assert walk(read, count) == expected
        assert walk(read, count, backward=True) == expected


@pytest.fixture
def stones():
    """Nine stones of two sets, with two labels that several have."""
    sets = [uuid.UUID(int=2**127), uuid.UUID(int=1)]
    return [Stone.objects.create(set_id=sets[n % 2], label=f"l{n % 3}") for n in range(9)]


ORDERS = {
    ("LABEL",): ("label", "pk"), ("-LABEL",): ("-label", "-pk"), ("ID",): ("pk",),
    ("-ID",): ("-pk",), ("-LABEL", "ID"): ("-label", "pk"),
}  # fmt: skip


def test_pages_by_uuid(ask, stones):
    for order, columns in ORDERS.items():
        read = reader(ask, "Stone", "stonesConnection", by(*order))
        walks(read, ids_of(Stone.objects.order_by(*columns)))


def test_pages_by_text(ask):
    for number, key in enumerate(("0", "", "a", "B", "ä", "a|b", "a\nb", "05", "%", "'", "日本")):
        Word.objects.create(id=key, label=("", "x", "é")[number % 3])
    for order, columns in ORDERS.items():
        read = reader(ask, "Word", "wordsConnection", by(*order))
        walks(read, list(Word.objects.order_by(*columns).values_list("pk", flat=True)))


NESTED = f"""query ($key: String!, {variables_of("Stone")}) {{
    stone(key: $key) {{ list: sameSet({ARGUMENTS}, filter: $filter) {{ {PAGE} }} }}
}}"""


def test_pages_of_a_parent_by_uuid(ask, stones):
    for stone in stones[:2]:
        for order, columns in ORDERS.items():

            def read(variables, key=str(stone.pk), order=order):
                given = {"key": key, "order": by(*order), **variables}
                return ask(NESTED, given).data["stone"]["list"]

            walks(read, ids_of(Stone.objects.filter(set_id=stone.set_id).order_by(*columns)))


def test_pages_of_many_parents_through_a_table_between(ask, stones):
    labels = [Label.objects.create(code=code) for code in ("a", "b", "c")]
    for number, stone in enumerate(stones):
        stone.labels.set(labels[: number % 4])
    document = f"""query ({variables_of("Stone")}) {{ labelsConnection(orderBy: [{{field: ID}}]) {{
        nodes {{ id stones({ARGUMENTS}, filter: $filter) {{ {PAGE}
            facets {{ row {{ code }} count }} }} }}
        facets {{ row {{ id }} count }} }} }}"""
    for position, label in enumerate(labels):

        def read(variables, position=position):
            shown = ask(document, variables).data["labelsConnection"]["nodes"]
            return shown[position]["stones"]

        assert walk(read, 2) == ids_of(label.stones.order_by("label", "pk"))
        assert walk(read, 2, backward=True) == ids_of(label.stones.order_by("label", "pk"))
    data = ask(document).data["labelsConnection"]
    most = sorted((-stone.labels.count(), str(stone.pk)) for stone in stones)[:3]
    assert [(-each["count"], each["row"]["id"]) for each in data["facets"]] == most
    assert data["nodes"][2]["stones"]["facets"] == [
        {"row": {"code": code}, "count": 2} for code in ("a", "b", "c")
    ]


def test_pages_of_many_parents_by_text(ask):
    for number in range(7):
        Word.objects.create(id=f"w{number}", label=("", "é")[number % 2])
    document = (
        "{ wordsConnection { nodes { id sameLabel(first: 2) { nodes { id } totalCount } } } }"
    )
    for node in ask(document).data["wordsConnection"]["nodes"]:
        odd = int(node["id"][1]) % 2
        expected = [{"id": f"w{odd}"}, {"id": f"w{odd + 2}"}]
        assert node["sameLabel"] == {"nodes": expected, "totalCount": 3 if odd else 4}


def test_a_cursor_survives_its_row(ask, stones):
    read = reader(ask, "Stone", "stonesConnection")
    expected = ids_of(Stone.objects.order_by("label", "pk"))
    place = read({"first": 4})["pageInfo"]["endCursor"]
    Stone.objects.get(pk=expected[3]).delete()
    assert [node["id"] for node in read({"first": 9, "after": place})["nodes"]] == expected[4:]
    assert [node["id"] for node in read({"last": 9, "before": place})["nodes"]] == expected[:3]


def test_filters_by_uuid(ask, stones):
    one, two, *_ = stones
    label = Label.objects.create(code="a")
    label.stones.set([one])
    everything = {str(stone.pk) for stone in stones}
    for conditions, expected in (
        ({"id": {"eq": str(one.pk)}}, {str(one.pk)}),
        ({"id": {"eq": one.pk.hex.upper()}}, {str(one.pk)}),
        ({"id": {"in": [str(one.pk), two.pk.hex, "x", str(uuid.uuid4())]}},
         {str(one.pk), str(two.pk)}),
        ({"id": {"eq": "x"}}, set()),
        ({"id": {"in": []}}, set()),
        ({"not": {"id": {"eq": str(one.pk)}}}, everything - {str(one.pk)}),
        ({"setId": {"eq": str(one.set_id)}}, set(ids_of(stones[::2]))),
        ({"labels": {"any": {"ids": [str(label.pk)]}}}, {str(one.pk)}),
        ({"labels": {"none": {"names": ["a"]}}}, everything - {str(one.pk)}),
    ):  # fmt: skip
        read = reader(ask, "Stone", "stonesConnection", **conditions)
        assert set(walk(read, 2)) == expected, conditions
        given = {"key": str(one.pk), "filter": conditions}
        nested = ask(NESTED, given).data["stone"]["list"]["nodes"]
        assert {node["id"] for node in nested} == expected & set(ids_of(stones[::2])), conditions
    read = reader(ask, "Label", "labelsConnection", stones={"all": {"ids": [str(one.pk)]}})
    assert walk(read, 2) == [str(label.pk)]
    read = reader(ask, "Label", "labelsConnection", stones={"any": {"ids": ["x", str(two.pk)]}})
    assert walk(read, 2) == []


def test_filters_by_text(ask):
    for key in ("a", "A", "", "é"):
        Word.objects.create(id=key)
    for conditions, expected in (
        ({"id": {"eq": ""}}, [""]),
        ({"id": {"in": ["a", "é", "a", "b"]}}, ["a", "é"]),
        ({"id": {"eq": "a\0"}}, None),
    ):
        answer = ask(
            "query ($f: WordFilter) { wordsConnection(filter: $f) { nodes { id } } }",
            {"f": conditions},
        )
        if expected is None:
            assert answer.content["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        else:
            assert [node["id"] for node in answer.data["wordsConnection"]["nodes"]] == expected


def test_a_page_depends_on_its_list_alone(ask, stones):
    mine, other = stones[0], stones[1]
    given = {"key": str(mine.pk), "order": by("ID")}
    ask(NESTED, given)
    assert ask(NESTED, given).is_hit
    Stone.objects.filter(pk=other.pk).update(label="new")
    Stone.objects.create(set_id=other.set_id)
    assert ask(NESTED, given).is_hit
    Stone.objects.create(set_id=mine.set_id, label="l9")
    assert not ask(NESTED, given).is_hit
    by_label = {"key": str(mine.pk), "order": by("LABEL"), "first": 1}
    ask(NESTED, by_label)
    assert ask(NESTED, by_label).is_hit
    last = Stone.objects.filter(set_id=mine.set_id).order_by("label").last()
    Stone.objects.filter(pk=last.pk).update(label=" first")
    answer = ask(NESTED, by_label)
    assert answer.data["stone"]["list"]["nodes"] == [{"id": str(last.pk)}]


KEYS = {
    "Flag": [False, True],
    "Small": [-(2**15), -1, 0, 2**15 - 1],
    "Number": [-(2**31), 0, 5, 2**31 - 1],
    "Large": [-(2**63), 2**53 + 1, 2**63 - 1],
    "Char": ["", "A", "a", "ä", "日本"],
    "Words": ["", "A", "a\n", "\U0001f600", "x" * 5_000],
    "Bytes": ["", "A", "a", "ä", "\U0001f600"],
    "Mail": ["a@example.org", "b@example.org"],
    "Uuid": [uuid.UUID(int=0), uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)],
    "Day": [date(1, 1, 1), date(2026, 2, 28), date(9999, 12, 31)],
    "Moment": [datetime(1, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
               datetime(9999, 12, 30, tzinfo=UTC)],
    "Price": [Decimal("-99999999.9999"), Decimal(0), Decimal("0.0001"), Decimal(10**7)],
    "Lowered": ["A", "b", "C"],
}  # fmt: skip


def test_orders_and_filters_by_columns_of_every_type(ask):
    for name in OWNERS:
        compare_with_django(ask, name)


def compare_with_django(ask, name):
    model, column = OWNERS[name], "source" if name == "Lowered" else "key"
    rows = [model.objects.create(**{column: key}) for key in KEYS[name]]
    for order, columns in (("KEY", "key"), ("-KEY", "-key")):
        read = reader(ask, f"{name}Owner", f"{name.lower()}Owners", by(order))
        expected = ids_of(model.objects.order_by(columns))
        for count in (1, 2):
            assert walk(read, count) == expected
            assert walk(read, count, backward=True) == expected
    for row in rows:
        row.refresh_from_db()
        text = str(row.key).lower() if name == "Flag" else str(row.key)
        if len(text) <= 1_000:
            read = reader(ask, f"{name}Owner", f"{name.lower()}Owners", key={"eq": text})
            assert walk(read, 2) == [str(row.pk)]


WRONG = {
    "Flag": ["x", 5, None],
    "Small": [2**15, "x", 1.5, None],
    "Large": [2**63, -(2**63) - 1, "x", None],
    "Words": ["a\0", "\ud800", None, ["a"]],
    "Uuid": ["x", "", 2**128, None],
    "Day": ["x", "2026-02-30", "infinity", 5],
    "Moment": ["x", "2026-01-01", "2026-01-01T00:00:00", "infinity"],
    "Price": ["NaN", "Infinity", "1e999999", "x"],
}


def test_a_cursor_with_a_wrong_value_is_refused(ask):
    for name, value in ((name, value) for name, values in WRONG.items() for value in values):
        text = json.dumps(["KEY,ID", value, 1]).encode()
        cursor = urlsafe_b64encode(text).decode().rstrip("=")
        field = f"{name.lower()}Owners"
        answer = ask(f'{{ {field}(after: "{cursor}") {{ nodes {{ id }} }} }}')
        assert "errors" in answer.content, (name, value)
        (error,) = answer.content["errors"]
        assert error["message"] == "'after' must be a cursor of this list", (name, value)
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_the_checks_know_the_index_of_each_order():
    missing = [each.msg for each in run_checks(tags=["pcf"]) if each.id == "pcf.W004"]
    assert sorted(missing) == [
        "odd.LabelsOfStoneConnections: no index serves the order CODE: stone, code",
        "odd.LabelsOfStoneConnections: no index serves the order ID: stone, id",
        "odd.StoneConnections: no index serves the order LABEL: label",
        "odd.StonesOfLabelConnections: no index serves the order ID: label, id",
        "odd.StonesOfLabelConnections: no index serves the order LABEL: label, label",
        "odd.StonesOfSetConnections: no index serves the order ID: set_id, id",
        "odd.StonesOfSetConnections: no index serves the order LABEL: set_id, label",
        "odd.WordConnections: no index serves the order LABEL: label",
        "odd.WordsByLabelConnections: no index serves the order ID: label, id",
        "odd.WordsByLabelConnections: no index serves the order LABEL: label, label",
    ]
