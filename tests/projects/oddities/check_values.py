"""The value of a field is the one that an instance has, whatever the model does with columns."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd.models import (
    Car,
    Curio,
    Everything,
    FromDb,
    Initialised,
    Inn,
    Leaf,
    LoudPlace,
    Remark,
    Shadowed,
    Shelf,
    Short,
    Signalled,
    Volume,
)

from pcf.execution.context import RequestContext
from pcf.execution.rows import columns_of, raw_columns

pytestmark = pytest.mark.django_db(transaction=True)


def both(ask, query):
    """Return the data, which are the same with the cache and without it."""
    first = ask(query).data
    assert ask(query).data == first == ask(query, stored=False).data
    return first


CURIO = {
    "price": "2.50 USD",
    "phone": "+49123",
    "secret": "hidden",
    "picture": "a b.png",
    "url": "/media/a%20b.png",
    "facts": {"WEIGHT": 0.1},
    "colour": "b",
    "title": "title of 7",
    "madeAt": "2024-10-27T00:30:00+00:00",
    "hidden": "value",
    "amount": "1.50",
    "currency": "USD",
}


@pytest.fixture
def curio():
    return Curio.objects.create(
        pk=7, price=Decimal("2.5"), currency="USD", phone="49123", secret="hidden",
        picture="a b.png", facts={"weight": 0.10}, colour="b", hidden="value",
        made_at=dt.datetime(2024, 10, 27, 2, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        amount=Decimal("1.5"),
    )  # fmt: skip


@pytest.mark.parametrize("field", CURIO)
@pytest.mark.usefixtures("curio")
def test_a_field_alone(ask, field):
    assert both(ask, f'{{ curio(key: "7") {{ {field} }} }}') == {"curio": {field: CURIO[field]}}


@pytest.mark.usefixtures("curio")
def test_all_fields_together(ask):
    assert both(ask, f'{{ curio(key: "7") {{ {" ".join(CURIO)} }} }}') == {"curio": CURIO}


def test_an_empty_file_is_the_text_that_django_makes(ask):
    Curio.objects.create(pk=8, picture=None)
    assert both(ask, '{ curio(key: "8") { picture url } }') == {
        "curio": {"picture": str(Curio.objects.get(pk=8).picture), "url": None}
    }


@pytest.mark.parametrize("model", [Shadowed, FromDb, Initialised, Signalled])
def test_code_of_the_model_takes_part(ask, model):
    made = model.objects.create(label="some text")
    made = model.objects.get(pk=made.pk)
    assert made.label != "some text"
    field = model.__name__[0].lower() + model.__name__[1:].lower()
    assert both(ask, f'{{ {field}(key: "{made.pk}") {{ id label }} }}') == {
        field: {"id": str(made.pk), "label": made.label}
    }


def test_columns_may_have_any_name(ask):
    car = Car.objects.create()
    names = {
        "model": "model", "readers": "readers", "count": "count", "index": "index",
        "columns": "columns", "keys": "keys", "viewer": "viewer",
        "key": "key", "position": "position",
    }  # fmt: skip
    selected = " ".join(names)
    found = both(ask, f'{{ car(key: "{car.pk}") {{ {selected} same {{ {selected} }} }} }}')
    assert found == {"car": {**names, "same": [names]}}


def test_an_annotation_is_an_attribute_of_the_instances(ask):
    shelf = Shelf.objects.create(name="one")
    query = f'{{ shelf(key: "{shelf.pk}") {{ id n name }} }}'
    assert both(ask, query)["shelf"]["n"] == 0
    for number in range(3):
        Volume.objects.create(shelf=shelf, title=str(number))
    assert both(ask, query)["shelf"] == {"id": str(shelf.pk), "n": 3, "name": "one"}


def test_a_list_has_the_order_that_is_stated_or_djangos(ask):
    shelf = Shelf.objects.create(name="one")
    for title, rank in (("b", 1), ("C", 1), ("a", 2), ("d", 0)):
        Volume.objects.create(shelf=shelf, title=title, rank=rank)
    Volume.objects.create(shelf=shelf, title="hidden", is_hidden=True)
    lists = "volumes { title } byTitle { title } upwards { title }"
    query = f'{{ shelf(key: "{shelf.pk}") {{ {lists} }} }}'
    found = {
        name: "".join(volume["title"] for volume in volumes)
        for name, volumes in both(ask, query)["shelf"].items()
    }
    django = "".join(Volume.objects.filter(shelf=shelf).values_list("title", flat=True))
    assert found["volumes"] == django == "abCd"
    assert sorted(found["byTitle"]) == sorted("abCd")
    assert found["byTitle"] == "".join(
        Volume.objects.filter(shelf=shelf).order_by("title").values_list("title", flat=True)
    )
    assert found["upwards"] == "dbCa"


def test_lists_of_several_parents_do_not_mix_when_the_parents_have_an_order(ask):
    """``key`` names a relation whose model has a Meta.ordering."""
    shelves = [Shelf.objects.create(name=name) for name in ("one", "one", "two")]
    for round_ in range(3):
        for shelf in shelves:
            Volume.objects.create(shelf=shelf, title=f"{shelf.pk}-{round_}")
    fields = "".join(f's{s.pk}: shelf(key: "{s.pk}") {{ volumes {{ title }} }} ' for s in shelves)
    found = both(ask, f"{{ {fields} }}")
    for shelf in shelves:
        titles = [volume["title"] for volume in found[f"s{shelf.pk}"]["volumes"]]
        assert titles == [f"{shelf.pk}-{round_}" for round_ in range(3)]


def test_a_child_has_the_attributes_of_its_parent(ask):
    inn = Inn.objects.create(name="Lion", beds=3)
    query = f'{{ inn(key: "{inn.pk}") {{ name beds }} }}'
    assert both(ask, query) == {"inn": {"name": "Lion", "beds": 3}}
    Inn.objects.filter(pk=inn.pk).update(name="Lamb")
    assert both(ask, query) == {"inn": {"name": "Lamb", "beds": 3}}


def test_a_proxy_has_its_own_properties(ask):
    place = LoudPlace.objects.create(name="inn")
    query = f'{{ loudPlace(key: "{place.pk}") {{ name shout }} }}'
    assert both(ask, query) == {"loudPlace": {"name": "inn", "shout": "INN"}}


def test_generic_keys_are_found_by_the_keys_of_any_model(ask):
    short = Short.objects.create(label="short")
    first = Remark.objects.create(subject=short, text="first")
    query = f'{{ short(key: "{short.pk}") {{ remarks {{ text }} remarkPages {{ text }} }} }}'
    shown = [{"text": "first"}]
    assert both(ask, query)["short"] == {"remarks": shown, "remarkPages": shown}
    Remark.objects.create(subject=short, text="second")
    assert len(both(ask, query)["short"]["remarkPages"]) == 2
    Remark.objects.filter(pk=first.pk).update(object_id="other")
    assert both(ask, query)["short"]["remarks"] == [{"text": "second"}]


def test_a_list_in_the_order_of_another_model(ask):
    first, second = Shelf.objects.create(name="b"), Shelf.objects.create(name="a")
    for shelf in (second, first, second):
        Leaf.objects.create(shelf=shelf)

    def shown(**options):
        return [leaf["id"] for leaf in ask('{ leaves(key: "0") { id } }', **options).data["leaves"]]

    def expected():
        ordered = Leaf.objects.order_by("shelf", "pk").values_list("pk", flat=True)
        return [str(key) for key in ordered]

    assert shown() == shown() == expected()
    Shelf.objects.filter(pk=first.pk).update(name="0")
    assert shown() == shown(stored=False) == expected()


EVERYTHING = {
    "binary": st.binary(),
    "boolean": st.booleans(),
    "char": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    "date": st.dates(),
    "moment": st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1),  # noqa: DTZ001
                           timezones=st.timezones()),
    "decimal": st.decimals(-10**9, 10**9, places=5, allow_nan=False),
    "duration": st.timedeltas(dt.timedelta(-10**5), dt.timedelta(10**5)),
    "ratio": st.floats(allow_nan=False),
    "address": st.ip_addresses().map(str),
    "number": st.integers(-(2**30), 2**30 - 1),
    "facts": st.dictionaries(st.text("ab"), st.floats(0, 1) | st.none() | st.lists(st.booleans())),
    "time": st.times(),
    "uuid": st.uuids(),
    "numbers": st.lists(st.decimals(-99, 99, places=2)),
    "secrets": st.lists(st.text("abc")),
    "numbers_range": st.tuples(st.integers(0, 5), st.integers(6, 9)),
}  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries({name: st.none() | of for name, of in EVERYTHING.items()}))
def test_a_row_and_an_instance_hold_the_values_of_djangos_instance(values):
    made = Everything.objects.create(**values)
    django = Everything.objects.get(pk=made.pk)
    names = columns_of(Everything)
    assert raw_columns(Everything) == set(names)
    for columns in (names, None):
        loader = RequestContext().loaders.get_light("odd.EverythingById", columns, {})
        for _ in range(3):  # the statement is text, then prepared
            (found,) = loader.load_batch([made.pk]).values()
            for name in names:
                value, expected = getattr(found, name), getattr(django, name)
                assert (type(value), value) == (type(expected), expected), name


@pytest.mark.parametrize(
    ("field", "part"), [("shelfAsValues", "values()"), ("shelfPrefetched", "prefetch_related()")]
)
def test_a_query_set_that_a_loader_cannot_honour_is_an_error(ask, caplog, field, part):
    shelf = Shelf.objects.create(name="one")
    answer = ask(f'{{ {field}(key: "{shelf.pk}") {{ name }} }}')
    assert answer.content["data"] == {field: None}
    assert f"queryset() uses {part}" in caplog.text
