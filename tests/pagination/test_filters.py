"""Names in a filter of a relation: the statement of the filter has ids in their place."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.utils.timezone import now

from notes.loaders import NoteConnections
from notes.models import NoteTag
from pcf.database.compiled_queries import CompiledQuery
from pcf.database.snapshots import current_snapshot, one_snapshot
from pcf.execution import row_loaders
from pcf.execution.dependencies import WHOLE, Dependencies
from pcf.execution.executor import execute, execute_with_promises
from pcf.execution.promises import promise_scope
from pcf.execution.promises import run as run_promise
from pcf.execution.shared_statements import SharedStatements
from pcf.pagination import filters
from pcf.pagination.fields import list_arguments
from pcf.pagination.filters import FilterSet
from pcf.timeouts import TimeoutContext, activate
from pcf.viewer import Viewer
from tags.models import Tag
from tests.conftest import make_note, token_for
from tests.pagination.test_connections import run

LIST = """query ($f: NoteFilter, $first: Int, $last: Int, $before: String) {
    notesConnection(filter: $f, first: $first, last: $last, before: $before) {
        totalCount nodes { title } pageInfo { startCursor hasNextPage hasPreviousPage }
        tagFacets { count tag { name } }
    } }"""
BELOW = "query ($f: NoteFilter) { users { notesConnection(filter: $f) { nodes { title } } } }"
COUNT = "query ($f: NoteFilter) { notesConnection(filter: $f) { totalCount } }"
NAMES = ("red", "blue", "Red", "réd", "Green", "green", "absent", "unused")


@pytest.fixture
def tagged(world):
    """Notes with each set of the tags, among them tags whose names differ in case or accents."""
    others = [Tag.objects.create(name=name) for name in ("Green", "réd", "unused")]
    red, blue, green, accented = world.red, world.blue, *others[:2]
    sets = ((), (red,), (blue,), (red, blue), (green,), (red, green), (accented,), (accented, red))
    for number, tags in enumerate(sets):
        make_note(world.ann, f"note {number}", *tags)
    return world


def by_ids(given):
    """Return the filter with ids for names; an unknown name has the id of no row."""
    if isinstance(given, list):
        return list(map(by_ids, given))
    if not isinstance(given, dict):
        return given
    if "names" in given:
        ids = {tag.name: str(tag.pk) for tag in Tag.objects.all()}
        return {"ids": [ids.get(name, "0") for name in given["names"]]}
    return {key: by_ids(value) for key, value in given.items()}


def of(quantifier, *names):
    """Return the condition on the tags with these names."""
    return {"tags": {quantifier: {"names": list(names)}}}


FILTERS = [
    *(of(quantifier, name) for quantifier in ("any", "all", "none") for name in NAMES),
    *(of(quantifier) for quantifier in ("any", "all", "none")),
    *(of(quantifier, "red", "absent", "red") for quantifier in ("any", "all", "none")),
    *(of(quantifier, "red", "blue") for quantifier in ("any", "all", "none")),
    {"tags": {"any": {"names": ["red", "blue"]}, "none": {"names": ["Green", "absent"]}}},
    {"or": [of("all", "red", "blue"), of("any", "réd", "absent"), {"not": of("none", "Green")}]},
    {"and": [of("any", "red"), {"not": of("all", "red", "absent")}, {"title": {"contains": "e"}}]},
    {"not": {"or": [of("any", "absent"), of("all", "absent")]}},
]


@pytest.mark.parametrize("by", [execute, execute_with_promises])
def test_names_choose_what_their_ids_choose(tagged, by):
    for given in FILTERS:
        same = by_ids(given)
        for query in (LIST, BELOW, COUNT):
            expected = run(query, by=by, f=same)[0]
            assert run(query, by=by, f=given)[0] == expected, given
        last = run(LIST, by=by, f=given, last=2)[0]
        assert last == run(LIST, by=by, f=same, last=2)[0], given
        page = {"last": 2, "before": last["notesConnection"]["pageInfo"]["startCursor"]}
        if page["before"]:
            assert run(LIST, by=by, f=given, **page)[0] == run(LIST, by=by, f=same, **page)[0], (
                given
            )


def test_names_choose_what_the_statement_with_names_chooses(tagged, monkeypatch):
    found = [run(LIST, f=given)[0] for given in FILTERS]
    monkeypatch.setattr(FilterSet, "look_ups", lambda *_: {})
    statements = []
    for given, answer in zip(FILTERS, found, strict=True):
        expected, _, sent = run(LIST, f=given)
        assert answer == expected, given
        statements += sent
    assert any("EXISTS" in each and '"tags_tag"' in each for each in statements)


def test_the_statement_of_the_filter_has_ids(tagged):
    """One statement finds the ids of all names; a count and facets use the same ids."""
    given = {"or": [of("any", "red", "absent"), of("all", "blue", "red"), of("none", "red")]}
    _, found, (look_up, *others) = run(LIST, f=given)
    assert '"tags_tag"."name" = ANY(' in look_up
    assert "notes_note" not in look_up
    reading = [each for each in others if '"notes_note"' in each]
    assert len(reading) == 3  # a page, a count, facets
    assert not any('"tags_tag"' in each for each in reading)
    assert len(others) == 4  # and the tags of the facets
    plans = {each.text: each.has_own_plans for _, each, *_ in found.statements}
    assert [own for text, own in plans.items() if '"name" = ANY' in text] == [False]
    some = {"or": [of("any", "red"), of("all", "blue", "red"), of("none", "red")]}
    assert set(run(LIST, f=by_ids(some))[2]) == set(run(LIST, f=some)[2][1:])


@pytest.mark.parametrize("query", [LIST, BELOW, COUNT], ids=["list", "below", "count"])
def test_the_dependencies_are_those_of_the_names(tagged, query, monkeypatch):
    """The columns that the filter reads, and the names themselves."""
    for given in FILTERS:
        found = run(query, f=given)[1]
        with monkeypatch.context() as patch:
            patch.setattr(FilterSet, "look_ups", lambda *_: {})
            expected = run(query, f=given)[1]
        assert dict(found.items()) == dict(expected.items()), given


def test_an_operation_asks_once_for_a_name(tagged):
    aliases = {
        "a": of("any", "red"), "b": of("all", "red", "blue"), "c": of("none", "absent"),
        "d": of("any", "blue", "absent"), "e": {"title": {"eq": "x"}}, "f": of("any"),
    }  # fmt: skip
    given = ", ".join(f"${name}: NoteFilter" for name in aliases)
    lists = " ".join(
        f"{name}: notesConnection(filter: ${name}) {{ nodes {{ title }} }}" for name in aliases
    )
    data, _, statements = run(f"query ({given}) {{ {lists} }}", **aliases)
    asked = [each for each in statements if "notes_note" not in each]
    assert not any("tags_tag" in each for each in statements if each not in asked)
    found = [re.findall(r"'{(.*)}'", each) for each in asked]
    assert found == [["red"], ["blue"], ["absent"]]  # none for d
    assert len(statements) == len(aliases) + 3
    for name, each in aliases.items():
        alone = run(LIST, f=each)[0]["notesConnection"]["nodes"]
        assert data[name]["nodes"] == alone, name
    many = run(BELOW, f=aliases["b"])[2]
    assert len(many) == 3  # users, names, pages of all users


@pytest.mark.usefixtures("fresh_service")
def test_a_tag_that_gets_the_name_gives_a_new_answer(live_world, ask):
    def titles(*names, quantifier="any"):
        answer = ask(LIST, token, {"f": of(quantifier, *names)})
        return {node["title"] for node in answer.data["notesConnection"]["nodes"]}

    token = token_for(live_world.ann)
    red, both = {"public of ann", "private of ann"}, {"private of ann"}
    for _ in range(2):
        assert titles("red") == red
        assert titles("crimson") == set()
        assert titles("crimson", "blue", quantifier="all") == set()
    Tag.objects.filter(pk=live_world.red.pk).update(name="crimson")
    for _ in range(2):
        assert titles("red") == set()
        assert titles("crimson") == red
        assert titles("crimson", "blue", quantifier="all") == both
    new = Tag.objects.create(name="red")
    assert titles("red") == set()
    live_world.public.tags.add(new)
    assert titles("red") == {"public of ann"}
    Tag.objects.filter(name="red").delete()
    assert titles("red") == set()


def test_a_write_of_the_operation_may_make_the_name(world, ask):
    """The payload of the first field finds no tag of the name, that of the second finds it."""
    lists = "note { author { notesConnection(filter: $f) { totalCount } } }"
    query = f"""mutation ($f: NoteFilter, $id: ID!) {{
        a: updateNote(input: {{id: $id, title: "new"}}) {{ {lists} }}
        b: tagNote(input: {{noteId: $id, tagNames: ["new"]}}) {{ {lists} }} }}"""
    given = {"f": of("any", "new"), "id": str(world.public.pk)}
    answer = ask(query, token_for(world.ann), given).data
    counts = [each["note"]["author"]["notesConnection"] for each in answer.values()]
    assert counts == [{"totalCount": 0}, {"totalCount": 1}]


def in_another_session(function, *arguments):
    """Call a function in a thread, whose connection it closes."""

    def call():
        try:
            function(*arguments)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()


@pytest.mark.usefixtures("fresh_service")
@pytest.mark.parametrize("others", ["", "users { id }"])
def test_the_names_and_the_rows_are_of_one_snapshot(live_world, ask, monkeypatch, others):
    """The look-up is never the last statement, which ends the snapshot."""
    query = (
        f"query ($f: NoteFilter) {{ notesConnection(filter: $f) {{ nodes {{ title }} }} {others} }}"
    )
    rows, looked = CompiledQuery.rows, []

    def rows_then_write(self, using, values):
        found = rows(self, using, values)
        if "names" in values:
            looked.append(values["names"])
            in_another_session(NoteTag.objects.all().delete)
        return found

    links = list(NoteTag.objects.values_list("note_id", "tag_id"))
    monkeypatch.setattr(CompiledQuery, "rows", rows_then_write)
    for number in range(4):  # as text, then prepared
        for note, tag in links:
            NoteTag.objects.get_or_create(note_id=note, tag_id=tag)
        answer = ask(query, None, {"f": of("any", "red")})
        assert answer.data["notesConnection"]["nodes"] == [{"title": "public of ann"}]
        assert len(looked) == number + 1  # the operation is not repeated


def test_the_look_up_is_not_sent_as_the_last_statement(live_world, monkeypatch):
    rows, sent = CompiledQuery.rows, []

    def noted(self, using, values):
        sent.append((current_snapshot().is_last, "names" in values))
        return rows(self, using, values)

    monkeypatch.setattr(CompiledQuery, "rows", noted)
    arguments = list_arguments(NoteConnections, {"filter": of("any", "red")}, 20)
    for expected in ([(False, True), (False, False)], [(True, False)]):
        loader = NoteConnections(Viewer(), Dependencies(), arguments, ("id", "title"))
        sent.clear()
        timeout = TimeoutContext.start("http", 30.0)
        with activate(timeout), one_snapshot() as snapshot, promise_scope():
            promise = loader.load(WHOLE)
            snapshot.is_last = True
            page = run_promise(promise)
        assert [row.title for row in page.nodes] == ["public of ann"]
        assert (sent, snapshot.lost) == (expected, None)
        arguments = loader.arguments  # with ids


REASONS = {  # functions: Django makes a new manager when the models of its registry change
    "a name may have several ids": lambda: (Tag._meta.get_field("name"), "unique", False),
    "equal names may differ": lambda: (filters, "key_type_of", lambda _: None),
    "the manager hides rows": lambda: (
        Tag._default_manager, "all", lambda: Tag.objects.exclude(pk=0),
    ),
    "another database has the names": lambda: (
        filters.router, "db_for_read", lambda model, **_: "x" if model is Tag else "default",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_names_without_ids_stay_in_the_statement(tagged, monkeypatch, reason):
    expected = [run(COUNT, f=given)[0] for given in FILTERS]
    with monkeypatch.context() as patch:
        patch.setattr(filters, "_ids_query", filters._ids_query.__wrapped__)
        patch.setattr(row_loaders, "_statements", SharedStatements(100))
        patch.setattr(*REASONS[reason]())
        for given, answer in zip(FILTERS, expected, strict=True):
            found, _, statements = run(COUNT, f=given)
            assert found == answer, given
            assert len(statements) == 1
    assert [len(run(COUNT, f=of("any", *names))[2]) for names in ((), ("red",))] == [1, 2]


@pytest.mark.parametrize(
    "given",
    [
        {"tags": {"any": {"names": ["red", "blue"]}}},
        {"tags": {"none": {"names": ["red"]}}},
        {"tags": {"all": {"names": ["red", "blue"]}}},
        {"tags": {"any": {"ids": ["1", "2"]}}},
        {"authorId": {"in": ["1", "2"]}},
        {"authorId": {"eq": "1"}},
        {"title": {"startsWith": "n"}},
        {"title": {"contains": "1"}},
        {"isPublic": True},
        {"createdAt": {"gte": "2020-01-01T00:00:00Z"}},
        {"search": "note"},
    ],
)
def test_a_query_set_of_each_request_takes_the_lists_of_a_filter(tagged, monkeypatch, given):
    """Its statement holds the values of the request, because it depends on the time."""
    expected, *_ = run(COUNT, f=given)
    shared = NoteConnections.queryset.__func__
    monkeypatch.setattr(
        NoteConnections,
        "queryset",
        classmethod(lambda cls, viewer: shared(cls, viewer).filter(created_at__lte=now())),
    )
    monkeypatch.setattr(row_loaders, "_statements", SharedStatements(10))
    found, *_ = run(COUNT, f=given)
    assert found == expected
