"""Statements that requests share, and query sets that no two requests may share."""

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import count
from time import monotonic

import pytest
from django.db import OperationalError
from django.db.models import DateTimeField, F, Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Now
from django.utils import timezone

from notes.models import Note
from pcf.database.query_log import count_queries
from pcf.execution import row_loaders, shared_statements
from pcf.execution.dependencies import WHOLE, Dependencies
from pcf.execution.row_loaders import PageLoader, RootPageLoader, RowListLoader, RowLoader
from pcf.execution.shared_statements import SharedStatements
from pcf.viewer import ANONYMOUS, Scope, Viewer
from users.models import User

notes = Note.objects
public = Q(is_public=True)
_ticks = count()


class Banned:
    """The viewers that the tests ban."""

    ids: frozenset[int] = frozenset()
    viewers: frozenset[Viewer] = frozenset()
    rights: dict[int, Q] = {}
    flag = False


@pytest.fixture(autouse=True)
def statements(monkeypatch):
    """The statements of the test."""
    made = SharedStatements(100)
    monkeypatch.setattr(row_loaders, "_statements", made)
    return made


@pytest.fixture
def banned(world, monkeypatch):
    """Bob is banned; the others are not."""
    monkeypatch.setattr(Banned, "ids", frozenset({world.bob.pk}))
    monkeypatch.setattr(Banned, "viewers", frozenset({Viewer(world.bob.pk)}))
    monkeypatch.setattr(Banned, "rights", {world.bob.pk: Q(pk=None)})
    return world


@lru_cache
def is_odd(number):
    return number % 2 == 1


def is_banned(viewer):
    try:
        return viewer.id in Banned.ids
    except TypeError:
        return False


def matches(value):
    match value:
        case {"id": 1}:
            return True
        case _ if value in Banned.ids:
            return True
    return False


def unless(condition):
    return notes.none() if condition else notes.all()


# A viewer's own value decides in Python.
BY_VALUE = {
    "in a set": lambda viewer: unless(viewer.id in Banned.ids),
    "in a list": lambda viewer: unless(viewer.id in list(Banned.ids)),
    "in a dict": lambda viewer: notes.filter(Banned.rights.get(viewer.id, Q())),
    "any": lambda viewer: unless(any(viewer.id == each for each in Banned.ids)),
    "equal": lambda viewer: unless([viewer.id] == list(Banned.ids)),
    "not equal": lambda viewer: unless(viewer.id != min(Banned.ids)),
    "less": lambda viewer: unless(viewer.is_authenticated and viewer.id <= min(Banned.ids)),
    "the viewer in a set": lambda viewer: unless(viewer in Banned.viewers),
    "the viewer equal": lambda viewer: unless(viewer == Viewer(min(Banned.ids))),
    "its truth": lambda viewer: unless(not viewer.id),
    "text": lambda viewer: unless(str(viewer.id) in map(str, Banned.ids)),
    "repr": lambda viewer: unless(repr(viewer.id) in map(repr, Banned.ids)),
    "repr of the viewer": lambda viewer: unless(repr(viewer) in map(repr, Banned.viewers)),
    "format": lambda viewer: unless(f"{viewer.id or 0:>5}" == f"{min(Banned.ids):>5}"),
    "percent": lambda viewer: unless("%s" % viewer.id in map(str, Banned.ids)),  # noqa: UP031
    "name": lambda viewer: unless(viewer.name == Viewer(min(Banned.ids)).name),
    "int": lambda viewer: unless(viewer.is_authenticated and int(viewer.id) in Banned.ids),
    "range": lambda viewer: unless(viewer.is_authenticated and range(viewer.id)[-1:] == range(0)),
    "modulo": lambda viewer: unless(viewer.is_authenticated and viewer.id % 2 == 0),
    "arithmetic": lambda viewer: unless(viewer.is_authenticated and viewer.id - min(Banned.ids)),
    "negated": lambda viewer: unless(viewer.is_authenticated and -viewer.id in {-1, -2}),
    "bits": lambda viewer: unless(viewer.is_authenticated and viewer.id & 1),
    "inverted": lambda viewer: unless(viewer.is_authenticated and ~viewer.id == -2),
    "cached": lambda viewer: unless(viewer.is_authenticated and is_odd(viewer.id)),
    "hash": lambda viewer: unless(hash(viewer.id) in map(hash, Banned.ids)),
    "a set of it": lambda viewer: unless({viewer.id} & Banned.ids),
    "match": lambda viewer: unless(matches(viewer.id)),
    "sorted": lambda viewer: unless(min([viewer.id or 0, min(Banned.ids)]) == viewer.id),
    "in filter, computed": lambda viewer: notes.filter(~Q(author_id=(viewer.id or 0) + 1)),
    "swallowed": lambda viewer: unless(is_banned(viewer)),
    "a method": lambda viewer: unless(viewer.is_authenticated and viewer.id.bit_length() == 1),
    "json": lambda viewer: unless(json.dumps(viewer.id) in map(json.dumps, Banned.ids)),
    "in a list of a filter": lambda viewer: notes.filter(author_id__in=[viewer.id or 0, 0]),
}  # fmt: skip


def _next_moment():
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_ticks))


# The rows depend on the moment of the call, or on what no Parameter stands for.
BY_TIME = {
    "now": lambda _: notes.filter(created_at__lte=timezone.now()),
    "today": lambda _: notes.filter(created_at__date__lte=timezone.now().date()),
    "the year": lambda _: notes.filter(created_at__year=timezone.now().year),
    "midnight": lambda _: notes.filter(
        created_at__gte=timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)),
    "a time": lambda _: notes.filter(
        created_at__time__lte=timezone.now().time().replace(microsecond=999_999)),
    "a range": lambda _: notes.filter(
        created_at__date__range=(date(2000, 1, 1), timezone.now().date())),
    "dates in a list": lambda _: notes.exclude(created_at__date__in=[date(2000, 1, 1)]),
    "a counter": lambda _: notes.filter(pk__gt=-next(_ticks)),
    "random": lambda _: notes.filter(pk__gt=-random.randrange(10**12)),
    "a clock": lambda _: notes.filter(created_at__gte=_next_moment() - timedelta(days=9999)),
    "in an annotation": lambda _: notes.annotate(moment=Value(timezone.now())).filter(
        created_at__lte=F("moment")),
}  # fmt: skip

# PostgreSQL computes the rows anew at each run.
BY_DATABASE = {
    "NOW": lambda _: notes.filter(created_at__lte=RawSQL("now()", ())),
    "STATEMENT_TIMESTAMP": lambda _: notes.filter(created_at__lte=Now()),
    "CURRENT_DATE": lambda _: notes.filter(created_at__date__lte=RawSQL("current_date", ())),
    "RANDOM": lambda _: notes.filter(pk__gt=RawSQL("-random()", ())),
    "AGE": lambda _: notes.extra(where=["age(created_at) > interval '-1 day'"]),
    "'TODAY'": lambda _: notes.filter(
        created_at__gte=Cast(Value("today"), DateTimeField()) - timedelta(days=9)
    ),
    "'NOW'": lambda _: notes.extra(where=["created_at <= 'now'::timestamptz"]),
}

SHARED = {
    "all": lambda _: notes.all(),
    "the viewer's": lambda viewer: notes.filter(author_id=viewer.id),
    "public or the viewer's": lambda viewer: notes.filter(public | Q(author_id=viewer.id)),
    "two conditions": lambda viewer: notes.filter(
        (Q(author_id=viewer.id) | Q(author_id=0)) & ~Q(author_id=viewer.id, pk=0)),
    "excluded": lambda viewer: notes.exclude(author_id=viewer.id),
    "arithmetic of PostgreSQL": lambda viewer: notes.filter(pk__gt=F("author_id") - viewer.id)
        if viewer.is_authenticated else notes.all(),
    "a subquery": lambda viewer: notes.filter(author__in=User.objects.filter(pk=viewer.id)),
    "the kind": lambda viewer: notes.all() if viewer.is_staff else notes.filter(public),
    "a name like a function": lambda _: notes.extra(where=['"notes_note"."title" <> \'now()\'']),
    "a text like a function": lambda _: notes.exclude(title="now() random() 'now'::date"),
    "a text with escapes": lambda _: notes.exclude(title="\\' now()"),
    "a constant date as text": lambda _: notes.filter(
        created_at__gte=Cast(Value("2020-01-01"), DateTimeField())),
}  # fmt: skip


def loaders_of(queryset):
    """Return a loader of each kind whose rows are those of ``queryset``, with its arguments."""
    members = {
        "model": Note,
        "dependency": "notes",
        "queryset": classmethod(lambda _, v: queryset(v)),
    }
    page = {"first": 100, "after": 0}
    return [
        (type("ById", (RowLoader,), members), {}),
        (type("ByAuthor", (RowListLoader,), {**members, "key": "author_id"}), {}),
        (type("Pages", (PageLoader,), {**members, "key": "author_id"}), page),
        (type("Root", (RootPageLoader,), members), page),
    ]


def load(loader_class, arguments, viewer):
    """Return the primary keys that the loader finds, and its undeclared reads."""
    dependencies = Dependencies()
    loader = loader_class(viewer, dependencies, arguments, ("id", "title"))
    if issubclass(loader_class, RootPageLoader):
        keys = [WHOLE]
    else:
        owners = User if issubclass(loader_class, RowListLoader) else Note
        keys = list(owners.objects.values_list("pk", flat=True))
    found = loader.load_batch(keys).values()
    rows = (
        found if loader_class.__mro__[1] is RowLoader else [row for rows in found for row in rows]
    )
    return {row.id for row in rows}, dependencies.undeclared


def viewers_of(world):
    ids = (world.ann.pk, world.bob.pk, world.staff.pk)
    staff = Viewer(world.staff.pk, is_staff=True)
    return [*map(Viewer, ids), ANONYMOUS, staff, Viewer(world.ann.pk, scope=Scope.READ)]


def check(queryset, world):
    """Compare the loaders with the query set itself; return the reasons not to store."""
    reasons = set()
    for loader_class, arguments in loaders_of(queryset):
        for viewer in viewers_of(world) * 2:
            found, undeclared = load(loader_class, arguments, viewer)
            assert found == set(queryset(viewer).values_list("pk", flat=True)), viewer
            if undeclared is not None:
                assert loader_class.__name__ in undeclared
            reasons.add(undeclared and undeclared.partition("its query set ")[2])
    return reasons


@pytest.mark.repeats
@pytest.mark.parametrize("queryset", BY_VALUE.values(), ids=BY_VALUE)
def test_python_decides_by_the_viewers_own_value(banned, queryset):
    check(queryset, banned)
    for viewer in (Viewer(banned.ann.pk), Viewer(banned.bob.pk)):
        for loader_class, arguments in loaders_of(queryset):
            _, undeclared = load(loader_class, arguments, viewer)
            assert undeclared.endswith(("looks at the value of 'viewer'", "without its values"))


@pytest.mark.repeats
@pytest.mark.parametrize("queryset", BY_TIME.values(), ids=BY_TIME)
def test_what_depends_on_the_moment_is_built_for_each_request(world, queryset):
    for reason in check(queryset, world):
        assert reason.startswith(("differs from time to time", "holds a date or a time"))


@pytest.mark.repeats
@pytest.mark.parametrize("name", BY_DATABASE)
def test_what_postgresql_computes_anew_is_not_stored(world, statements, name):
    queryset = BY_DATABASE[name]
    assert check(queryset, world) == {f"uses {name}"}


@pytest.mark.parametrize("queryset", SHARED.values(), ids=SHARED)
def test_requests_share_what_depends_on_values_alone(world, queryset):
    assert check(queryset, world) == {None}


@pytest.mark.repeats
def test_a_query_set_that_sends_statements_is_built_for_each_request(world):
    def queryset(_viewer):
        return notes.filter(author_id__in=list(User.objects.values_list("pk", flat=True)))

    assert check(queryset, world) == {"sends statements of its own"}


def test_a_change_of_what_no_parameter_stands_for_is_noticed(world, monkeypatch):
    """The comparison comes at once here; it is otherwise a matter of seconds."""
    monkeypatch.setattr(shared_statements, "FIRST_CHECK", 0.0)
    queryset = lambda _: notes.filter(public) if Banned.flag else notes.all()  # noqa: E731
    (loader_class, arguments), *_ = loaders_of(queryset)
    everything = set(notes.values_list("pk", flat=True))
    assert load(loader_class, arguments, ANONYMOUS) == (everything, None)
    monkeypatch.setattr(Banned, "flag", True)
    found, undeclared = load(loader_class, arguments, ANONYMOUS)
    assert found == set(notes.filter(public).values_list("pk", flat=True)) < everything
    assert undeclared.endswith("differs from time to time")


def test_a_query_set_that_begins_to_look_at_a_value_is_noticed(banned, monkeypatch):
    monkeypatch.setattr(shared_statements, "FIRST_CHECK", 0.0)
    (loader_class, arguments), *_ = loaders_of(
        lambda viewer: unless(Banned.flag and viewer.id in Banned.ids)
    )
    bob = Viewer(banned.bob.pk)
    assert len(load(loader_class, arguments, bob)[0]) == 3
    monkeypatch.setattr(Banned, "flag", True)
    found, undeclared = load(loader_class, arguments, bob)
    assert not found
    assert undeclared.endswith("looks at the value of 'viewer'")


def test_a_comparison_costs_no_statement_and_comes_seldom(world, monkeypatch):
    built = []

    def queryset(viewer):
        built.append(viewer)
        return notes.all()

    (loader_class, arguments), *_ = loaders_of(queryset)
    with count_queries() as queries:
        for _ in range(5):
            load(loader_class, arguments, ANONYMOUS)
    assert len(built) == 2
    assert queries.count == 10  # five times the keys and the rows


def test_a_failure_of_the_database_says_nothing_about_the_query_set(world):
    fails = [True]

    def queryset(_viewer):
        if fails:
            raise OperationalError("gone")
        return notes.all()

    (loader_class, arguments), *_ = loaders_of(queryset)
    with pytest.raises(OperationalError):
        load(loader_class, arguments, ANONYMOUS)
    fails.clear()
    assert load(loader_class, arguments, ANONYMOUS)[1] is None


def test_an_error_that_does_not_occur_again_is_forgotten(world, monkeypatch):
    fails, built = [True], []

    def queryset(_viewer):
        built.append(bool(fails))
        if fails:
            raise OSError("no such file")
        return notes.all()

    (loader_class, arguments), *_ = loaders_of(queryset)
    for _ in range(2):
        with pytest.raises(OSError, match="no such file"):
            load(loader_class, arguments, ANONYMOUS)
    fails.clear()
    _, undeclared = load(loader_class, arguments, ANONYMOUS)
    assert undeclared.endswith("raises OSError without its values")
    monkeypatch.setattr(shared_statements, "monotonic", lambda: monotonic() + 60.0)
    assert [load(loader_class, arguments, ANONYMOUS)[1] for _ in range(2)] == [None, None]
    assert built == [True] * 3 + [False] * 3  # once for one request, twice for all


def test_an_error_of_the_query_set_is_its_own(world):
    (loader_class, arguments), *_ = loaders_of(
        lambda viewer: notes.filter(pk=1 // len(str(viewer.id)[5:]))
    )
    with pytest.raises(ZeroDivisionError):
        load(loader_class, arguments, Viewer(1))


def test_arguments_are_no_values_for_python_either(world):
    class Filtered(RowListLoader):
        model, dependency, key = Note, "notes", "author_id"

        @classmethod
        def queryset(cls, viewer):
            del viewer
            return notes.all()

        @classmethod
        def build(cls, viewer, arguments):
            rows = super().build(viewer, arguments)
            return rows.filter(public) if arguments["only_public"] else rows

    ids = {each: load(Filtered, {"only_public": each}, ANONYMOUS)[0] for each in (True, False)}
    assert ids[True] == set(notes.filter(public).values_list("pk", flat=True))
    assert ids[False] == set(notes.values_list("pk", flat=True))
    assert "only_public" in load(Filtered, {"only_public": True}, ANONYMOUS)[1]


def test_a_viewers_rights_are_real_values(world):
    viewer = replace(Viewer(world.staff.pk), is_staff=True)
    (loader_class, arguments), *_ = loaders_of(SHARED["the kind"])
    assert load(loader_class, arguments, viewer)[0] == set(notes.values_list("pk", flat=True))
    assert len(load(loader_class, arguments, Viewer(world.staff.pk))[0]) == 1
