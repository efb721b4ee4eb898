"""Each type of key: a cached answer is the one without the cache, after each kind of write."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd.models import ITEMS, OWNERS, Loose

from pcf.execution.context import RequestContext

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
KEYS = {
    "Flag": st.booleans(),
    "Small": st.integers(-(2**15), 2**15 - 1),
    "Number": st.integers(-(2**31), 2**31 - 1),
    "Large": st.integers(-(2**63), 2**63 - 1),
    "Char": TEXTS,
    "Words": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "Bytes": TEXTS,
    "Mail": st.emails(),
    "Uuid": st.uuids(),
    "Day": st.dates(),
    "Moment": st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1),  # noqa: DTZ001
                           timezones=st.timezones()),
    "Price": st.decimals(-10**7, 10**7, places=4, allow_nan=False),
    "Lowered": TEXTS,
}  # fmt: skip
ALL = pytest.mark.parametrize("name", OWNERS)
RUNS = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
FEW_RUNS = settings(RUNS, max_examples=3)  # of ten writes each


def query(name):
    owner = "label items { label owner { label } } pages { label }"
    return f"query($key: String!) {{ {name.lower()}Owner(key: $key) {{ {owner} }} }}"


def clean(name):
    """Delete all owners and items; a TRUNCATE of so few rows takes ten times as long."""
    with transaction.atomic(), connection.cursor() as cursor:
        for model in (ITEMS[name], OWNERS[name]):
            cursor.execute(f'DELETE FROM "{model._meta.db_table}"')


def truncate(owner):
    with connection.cursor() as cursor:
        cursor.execute(f'TRUNCATE "{owner._meta.db_table}" CASCADE')


def owner_of(name, key, label="first"):
    given = {"source" if name == "Lowered" else "key": key}
    return OWNERS[name].objects.create(**given, label=label)


def key_of(owner):
    owner.refresh_from_db()
    return owner.key


class Reader:
    """Asks for the owner of a key."""

    def __init__(self, ask, name, key):
        self.query, self.key, self.ask, self.name = query(name), str(key), ask, name

    def answer(self, stored=True):
        return self.ask(self.query, {"key": self.key}, stored=stored)

    def fill(self):
        """Have the answer stored, and return it."""
        self.answer()
        found = self.answer()
        assert found.is_hit
        assert found.data == self.answer(stored=False).data
        return found.data[f"{self.name.lower()}Owner"]

    def refill(self):
        """Check the first answer after a write; have it stored, and return it."""
        first = self.answer().data
        again = self.answer()
        assert again.is_hit
        assert first == again.data == self.answer(stored=False).data
        return first[f"{self.name.lower()}Owner"]

    def check(self):
        assert self.answer().data == self.answer(stored=False).data


WRITES = {
    "save": lambda owner, _items: save(owner),
    "update": lambda owner, _items: type(owner).objects.filter(pk=owner.pk).update(label="y"),
    "bulk_update": lambda owner, items: items.model.objects.bulk_update(
        [items.model(pk=pk, label="b") for pk in items.values_list("pk", flat=True)], ["label"]
    ),
    "bulk_create": lambda owner, items: items.model.objects.bulk_create(
        [items.model(owner_id=owner.key, label=f"new {n}") for n in range(3)]
    ),
    "move": lambda owner, items: items.update(owner=None),
    "sql": lambda owner, items: sql(owner, items),
    "copy": lambda owner, items: copy(owner, items),
    "cascade": lambda owner, _items: owner.delete(),
    "delete": lambda owner, items: items.all().delete(),
    "truncate": lambda owner, _items: truncate(owner),
}  # fmt: skip


def save(owner):
    owner.label += "x"
    owner.save(update_fields=["label"])


def sql(owner, items):
    """Insert an item in a session with other settings than the engine's."""
    columns = f'"{items.model._meta.db_table}" (owner_id, label)'
    with transaction.atomic(), connection.cursor() as cursor:
        for setting in ("datestyle = 'German, DMY'", "timezone = 'Asia/Kathmandu'"):
            cursor.execute(f"SET LOCAL {setting}")
        cursor.execute(
            f"INSERT INTO {columns} SELECT key, 'by hand' FROM "
            f'"{type(owner)._meta.db_table}" WHERE id = %s', [owner.pk],
        )  # fmt: skip


def copy(owner, items):
    """Insert an item by COPY."""
    columns = f'"{items.model._meta.db_table}" (owner_id, label)'
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone = 'America/Lima'")
        with cursor.copy(f"COPY {columns} FROM STDIN") as rows:
            rows.write_row((owner.key, "copied"))


@ALL
def test_each_write_removes_what_depends_on_the_key(ask, name):
    @FEW_RUNS
    @given(KEYS[name])
    def run(key):
        for write in WRITES:
            each(key, write)

    def each(key, write):
        clean(name)
        owner = owner_of(name, key)
        stored = key_of(owner)
        ITEMS[name].objects.create(owner_id=stored, label="item")
        reader = Reader(ask, name, stored)
        found = reader.fill()
        assert [item["label"] for item in found["items"]] == ["item"]
        assert [item["label"] for item in found["pages"]] == ["item"]
        WRITES[write](owner, ITEMS[name].objects.filter(owner_id=stored))
        assert reader.refill() != found, write

    run()


@ALL
def test_a_key_that_appears_later_is_seen(ask, name):
    @RUNS
    @given(KEYS[name])
    def run(key):
        clean(name)
        owner = owner_of(name, key)
        reader = Reader(ask, name, key_of(owner))
        owner.delete()
        assert reader.fill() is None
        owner_of(name, key)
        reader.check()
        assert reader.fill() is not None

    run()


@ALL
def test_other_keys_stay_cached(ask, name):
    @RUNS
    @given(st.tuples(KEYS[name], KEYS[name]))
    def run(keys):
        clean(name)
        owner = owner_of(name, keys[0])
        stored = key_of(owner)
        reader = Reader(ask, name, stored)
        reader.fill()
        if OWNERS[name].objects.exclude(key=stored).exists() or str(keys[0]) == str(keys[1]):
            return
        try:
            with transaction.atomic():
                other = owner_of(name, keys[1])
        except IntegrityError:  # an equal key
            return
        assert reader.answer().is_hit == (key_of(other) != stored)

    run()


SPELLINGS = {
    "Flag": (True, ["true", "True", "1", "t"]),
    "Number": (7, ["7", "+7", " 7", "07"]),
    "Uuid": (uuid.UUID(int=0xABCDEF), ["0" * 26 + "ABCDEF", str(uuid.UUID(int=0xABCDEF)).upper()]),
    "Moment": (dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC),
               ["2024-03-01T12:00Z", "2024-03-01 17:45:00+05:45", "2024-03-01T12:00:00.000"]),
    "Day": (dt.date(2024, 3, 1), ["2024-03-01", "2024-3-1"]),
    "Price": (Decimal("1.5"), ["1.5", "1.50000", "0.15E1", "+1.5"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_all_spellings_of_a_key_find_it_and_are_removed_with_it(ask, name):
    key, texts = SPELLINGS[name]
    owner = owner_of(name, key)
    ITEMS[name].objects.create(owner_id=key, label="item")
    readers = [Reader(ask, name, text) for text in texts]
    for reader in readers:
        assert reader.fill() is not None, reader.key
    OWNERS[name].objects.filter(pk=owner.pk).update(label="other")
    for reader in readers:
        reader.check()
        assert reader.fill()["label"] == "other"


IMPOSSIBLE = {
    "Flag": ["x", ""],
    "Small": ["32768", "-32769", "x", "", "1.5"],
    "Number": ["2147483648", "9" * 30],
    "Large": ["9223372036854775808", "9" * 400],
    "Char": ["abcdef" * 20, "a\0b"],
    "Words": ["a\0"],
    "Uuid": ["x", "", "0" * 31],
    "Day": ["x", "2024-02-30", "infinity"],
    "Moment": ["x", "infinity", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
    "Price": ["NaN", "Infinity", "1e999999", "1e-999999", "x"],
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_text_that_is_no_key_has_no_row(ask, name):
    for text in IMPOSSIBLE[name]:
        reader = Reader(ask, name, text)
        reader.key = text
        assert reader.answer().data == {f"{name.lower()}Owner": None}, text
        assert reader.answer(stored=False).data == {f"{name.lower()}Owner": None}


LONG = {"Char": "abcde", "Price": Decimal("1.0001")}


def test_keys_are_not_cut_to_the_length_of_the_column(ask):
    for name, key in LONG.items():
        owner_of(name, key)
        ITEMS[name].objects.create(owner_id=key, label="item")
        longer = type(key)(f"{key}1")
        assert Reader(ask, name, longer).fill() is None
        for loader in (f"odd.{name}Items", f"odd.{name}Pages"):
            loaders = RequestContext().loaders
            arguments = {"first": 5, "after": 0} if "Pages" in loader else {}
            found = loaders.get(loader, **arguments).load_batch([key, longer])
            assert {it: len(items) for it, items in found.items()} == {key: 1}


LOOSE = {"ratio": 0.1, "address": "10.0.0.1"}


@pytest.mark.parametrize("column", LOOSE)
def test_keys_without_a_spelling_are_touched_as_a_whole(ask, column):
    field = f"loose{column.capitalize()}"
    document = f"query($key: String!) {{ {field}(key: $key) }}"
    key = LOOSE[column]

    def labels(stored=True):
        return ask(document, {"key": str(key)}, stored=stored)

    assert labels().data == {field: []}
    assert labels().is_hit
    Loose.objects.create(**{column: key}, label="one")
    assert labels().data == {field: ["one"]} == labels(stored=False).data
    Loose.objects.update(**{column: None})
    assert labels().data == {field: []}
