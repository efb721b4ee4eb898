"""Validation finds what graphql-core's own finds, and leaves the garbage collector little."""

import gc
import hashlib
import inspect
import os
import re

import pytest
from graphql import (
    BREAK,
    SKIP,
    GraphQLSyntaxError,
    ParallelVisitor,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    parse,
    specified_rules,
    visit,
)
from graphql import validate as validate_by_graphql_core
from hypothesis import given, settings
from hypothesis import strategies as st

from pcf._compat.graphql import unlink_tokens
from pcf._compat.graphql_validation import _AllRules, validate

EXAMPLES = 10 * int(os.environ.get("PCF_FUZZ_EXAMPLES", "12"))

SCHEMA = build_schema(
    """
    directive @tone(of: Colour! = RED) repeatable on FIELD | QUERY
    enum Colour { RED GREEN }
    interface Node { id: ID! }
    input Range { least: Int!, most: Int, below: [Range!] }
    input Choice @oneOf { id: ID, name: String }
    type Note implements Node { id: ID!, title(upper: Boolean = false): String, author: User! }
    type User implements Node { id: ID!, name: String, notes(in: Range, first: Int!): [Note!]! }
    union Found = Note | User
    type Query {
      note(id: ID!): Note
      node(choice: Choice): Node
      search(text: [String!], colours: [Colour]): [Found]
      user: User
    }
    type Mutation { rename(id: ID!, title: String!): Note }
    type Subscription { note: Note }
    """
)
DOCUMENTS = """
query Q($id: ID!, $up: Boolean = true) @tone {
  note(id: $id) { id title(upper: $up) author { name } }
}

query A { ...F } query B($n: Int!) { user { notes(first: $n) { ...N } } }
fragment F on Query { user { id ...U } } fragment U on User { name }
fragment N on Note { title author { ...U } }

{
  search(text: ["a", "b"], colours: [RED, GREEN]) {
    __typename ... on Note { title } ... on User @include(if: true) { name }
  }
}

{
  user {
    a: notes(in: {least: 1, most: 2, below: [{least: 3}]}, first: 2) { id }
    a: notes(in: {least: 1, most: 2, below: [{least: 3}]}, first: 2) { title }
  }
}

mutation { rename(id: 1, title: "x") { id } } subscription { note { id @skip(if: false) } }

{
  node(choice: {id: "1"}) { id ... { id } ... on Note { author { id } } }
  __schema { types { name } }
}
""".strip().split("\n\n")
TOKEN = re.compile(r'"[^"]*"|\.\.\.|[$@]?\w+|[^\s\w]')
WORDS = sorted({word for text in DOCUMENTS for word in TOKEN.findall(text)})


def told(errors):
    """Return all that an answer shows of errors, and their class."""
    return [(type(error), error.formatted, error.locations) for error in errors]


@st.composite
def changed_documents(draw):
    """Return a document some of whose tokens are dropped, doubled, exchanged or replaced."""
    words = TOKEN.findall(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["drop", "double", "replace", "exchange"]))
        if change == "drop" and len(words) > 1:
            del words[place]
        elif change == "double":
            words.insert(place, words[place])
        elif change == "replace":
            words[place] = draw(st.sampled_from(WORDS))
        else:
            other = draw(st.integers(0, len(words) - 1))
            words[place], words[other] = words[other], words[place]
    return " ".join(words)


@settings(max_examples=EXAMPLES)
@given(changed_documents(), st.sampled_from([1, 2, 100]))
def test_errors_are_those_of_graphql_core(text, max_errors):
    try:
        document = parse(text)
    except GraphQLSyntaxError:
        return
    expected = validate_by_graphql_core(SCHEMA, document, max_errors=max_errors)
    assert told(validate(SCHEMA, document, max_errors)) == told(expected)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_errors_of_unchanged_documents_are_those_of_graphql_core(text):
    expected = validate_by_graphql_core(SCHEMA, parse(text))
    assert told(validate(SCHEMA, parse(text), 100)) == told(expected)


class Recorder(Visitor):
    """A rule that notes its calls and the types; its answers are in ``answers``, by their order."""

    def __init__(self, types, answers, calls):
        super().__init__()
        self._types, self._answers, self._calls = types, answers, calls

    def note(self, event, node):
        self._calls.append((id(self._answers), event, node.kind, node.loc, self._types.get_type()))
        return self._answers[len(self._calls) % len(self._answers)]


class ByEvent(Recorder):
    def enter(self, node, *_):
        return self.note("enter", node)

    def leave(self, node, *_):
        return self.note("leave", node)


class ByKind(Recorder):
    def enter_field(self, node, *_):
        return self.note("enter", node)

    def leave_selection_set(self, node, *_):
        return self.note("leave", node)

    def enter_argument(self, node, *_):
        return self.note("enter", node)


ANSWERS = st.lists(
    st.sampled_from([None] * 12 + [SKIP, False, BREAK, True]), min_size=1, max_size=9
)


@given(
    st.sampled_from(DOCUMENTS),
    st.lists(st.tuples(st.sampled_from([ByEvent, ByKind]), ANSWERS), min_size=1, max_size=3),
)
def test_rules_are_called_as_graphql_core_calls_them(text, rules):
    document = parse(text)

    def calls(visitor_of):
        types, found = TypeInfo(SCHEMA), []
        visit(document, visitor_of(types, [rule(types, answers, found) for rule, answers in rules]))
        return found

    expected = calls(lambda types, rules: TypeInfoVisitor(types, ParallelVisitor(rules)))
    assert calls(_AllRules) == expected


@pytest.mark.parametrize(("count", "messages"), [(20, []), (210, ["Validation aborted."])])
def test_fragments_that_nest_too_deeply_end_the_validation(count, messages):
    fragments = [
        f"fragment F{number} on User {{ notes(first: 1) {{ author {{ ...F{number + 1} }} }} }}"
        for number in range(count)
    ]
    last = f"fragment F{count} on User {{ id }}"
    document = parse(" ".join(["{ user { ...F0 } }", *fragments, last]))
    expected = validate_by_graphql_core(SCHEMA, document)
    assert told(validate(SCHEMA, document, 100)) == told(expected)
    assert [error.message for error in expected] == messages


@pytest.mark.parametrize("text", [*DOCUMENTS, "{ user { unknown } nothing }"])
def test_the_collector_has_little_to_free(text):
    document = parse(text)
    unlink_tokens(document)
    validate(SCHEMA, document, 100)
    gc.collect()
    gc.disable()
    try:
        validate(SCHEMA, document, 100)
        left = gc.collect()
        validate_by_graphql_core(SCHEMA, document)
        # the search for variables leaves two small visitors for each definition
        assert 5 * left < gc.collect()
        assert "$" in text or left == 0
    finally:
        gc.enable()


def test_graphql_core_validates_as_this_project_knows_it():
    sources = [validate_by_graphql_core, ParallelVisitor, TypeInfoVisitor, Visitor]
    sources += [rule.get_enter_leave_for_kind for rule in specified_rules]
    code = "".join(map(inspect.getsource, dict.fromkeys(sources)))
    digest = hashlib.sha256(code.encode()).hexdigest()
    assert digest[:16] == "ebf6edb4df012d32", (
        "graphql-core has changed: compare pcf/_compat/graphql_validation.py, then note the digest"
    )
