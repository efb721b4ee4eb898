"""The search of connections: texts that PostgreSQL's parser takes long for, and snippets."""

import pytest
from graphql import parse

from notes.models import Note
from pcf.execution.context import RequestContext
from pcf.execution.executor import execute
from pcf.pagination.orders import Term, behind
from pcf.pagination.search import prefix_query, web_query
from pcf.project.schema import schema
from pcf.viewer import ANONYMOUS
from tests.conftest import Ask, World

SNIPPETS = """query ($search: String!) {
  notesConnection(filter: {search: $search}) { edges { node { id } snippet } }
}"""
BEGINNINGS = "query ($p: String!) { notesConnection(filter: {searchPrefix: $p}) { nodes { id } } }"


def snippets(ask: Ask, search: str) -> list[str]:
    edges = ask(SNIPPETS, variables={"search": search}).data["notesConnection"]["edges"]
    return [edge["snippet"] for edge in edges]


def write(note: Note, content: str) -> None:
    Note.objects.filter(pk=note.pk).update(content=content)


def test_a_snippet_shows_the_characters_of_the_text(world: World, ask: Ask) -> None:
    write(world.public, "is 1 < 2? \x05\x02ask the_owl@example.org ~ soon/later & 'now'")
    (snippet,) = snippets(ask, "owl")
    assert "is 1 &lt; 2? ask the_<mark>owl</mark>@example.org ~ soon/later" in snippet


@pytest.mark.parametrize(
    "search", ["the_owl", "owl@example.org", '"the owl"', "OWL/later", "<owl>"]
)
def test_both_sides_of_a_search_are_cut_alike(world: World, ask: Ask, search: str) -> None:
    write(world.public, "ask the_owl@example.org soon/later")
    assert len(snippets(ask, search)) == 1


@pytest.mark.parametrize("text", ["a_" * 45_000, "a1@" * 30_000, "<!--" * 20_000, "a-1-" * 20_000])
def test_hostile_texts_are_found_in_time(world: World, ask: Ask, text: str) -> None:
    write(world.public, f"owl {text}")
    (snippet,) = snippets(ask, "owl")
    assert "<mark>owl</mark>" in snippet


@pytest.mark.parametrize("pattern", ["a_", "a1@", "<!--", "a-1-", "/."])
def test_hostile_searches_end_in_time(world: World, ask: Ask, pattern: str) -> None:
    search = (pattern * 500)[:1_000]
    assert snippets(ask, search) == []
    assert ask(BEGINNINGS, variables={"p": search}).errors == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("owl -soon", "owl -soon"),
        ("-" * 100, "-"),
        ("a - - _-b -c", "a   _-b -c"),
        ('-"a b" -"c"', '-"a b" -"c"'),
        ("e--mail", "e-mail"),
    ],
)
def test_minus_signs(world: World, ask: Ask, text: str, query: str) -> None:
    assert web_query(text) == query
    assert ask(SNIPPETS, variables={"search": text}).errors == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("gard", "'gard':*"),
        ("two wor", "'two' & 'wor':*"),
        ("it's a_b", "'it' & 's' & 'a' & 'b':*"),
        ("x" * 65, f"'{'x' * 64}' & 'x':*"),
        ("' | :*", ""),
    ],
)
def test_beginnings_of_words(text: str, query: str) -> None:
    assert prefix_query(text) == query


ORDERS = [
    "{field: RELEVANCE}",
    "{field: RELEVANCE, direction: DESC}",
    "{field: TITLE}, {field: RELEVANCE, direction: DESC}",
    "{field: UPDATED_AT}, {field: RELEVANCE}, {field: TITLE}",
]


@pytest.mark.parametrize("search", ["search", "searchPrefix"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("size", "bound", "cursor"), [
    ("first", "after", "endCursor"), ("last", "before", "startCursor"),
])  # fmt: skip
def test_pages_by_relevance_have_each_note_once(
    world: World, ask: Ask, search: str, order: str, size: str, bound: str, cursor: str
) -> None:
    texts = ["owl", "owl owl", "one owl two", "owl and owl and owl", "a word, an owl", "owl"]
    notes = {
        str(Note.objects.create(author=world.ann, title="n", content=text, is_public=True).pk)
        for text in texts
    }
    found: list[str] = []
    place = None
    query = f"""query ($c: String) {{ notesConnection({size}: 1, {bound}: $c,
        filter: {{{search}: "owl"}}, orderBy: [{order}]) {{
        nodes {{ id }} pageInfo {{ {cursor} }} }} }}"""
    while len(found) <= len(notes):
        page = ask(query, variables={"c": place}).data["notesConnection"]
        if not page["nodes"]:
            break
        found += [node["id"] for node in page["nodes"]]
        place = page["pageInfo"][cursor]
    assert sorted(found) == sorted(notes)


@pytest.mark.parametrize("search", ["search", "searchPrefix"])
@pytest.mark.parametrize("order", ORDERS)
def test_pages_by_relevance_are_stored(world: World, search: str, order: str) -> None:
    """What a shared statement reads is declared, so the cache stores the response."""
    query = f"""{{ notesConnection(filter: {{{search}: "owl"}}, orderBy: [{order}]) {{
        totalCount nodes {{ id }} edges {{ snippet }} tagFacets {{ count }} }} }}"""
    context = RequestContext(ANONYMOUS)
    result = execute(schema.graphql_schema, parse(query), context_value=context)
    assert result.errors is None
    assert context.dependencies.undeclared is None


def test_the_text_of_a_cursor_is_no_name_of_a_field(world: World) -> None:
    after = behind(["title"], (Term("TITLE", descending=False),), ["private"])
    assert list(Note.objects.filter(after).order_by("title")) == [
        world.private, world.other, world.public,
    ]  # fmt: skip
