"""Each limit of a document accepts its value, refuses one more, and refuses at a low cost."""

import pytest
from graphql import GraphQLError, Lexer, Source, TokenKind, get_introspection_query, parse
from hypothesis import example, given
from hypothesis import strategies as st

from pcf.conf.sections import Config, ConfigError, DocumentSettings, RateSettings
from pcf.documents import document, limits
from pcf.documents.document import InvalidDocument, prepare
from pcf.observability.metrics import LIMITS
from pcf.project.schema import schema
from tests.attacks import DOCUMENTS

SCHEMA = schema.graphql_schema
SEED = "{ users(first: 100) { id name notes { id title author { name } tags { name } } } }"


def refusal(text, **limits):
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, DocumentSettings(**limits))
    (error,) = caught.value.errors
    return error.extensions


def repeated(what, times):
    return "{ me { id " + " ".join(what.format(n) for n in range(times)) + " } }"


def of_fragments(times):
    definitions = (f"fragment F{n} on User {{ id }}" for n in range(times))
    spreads = (f"...F{n}" for n in range(times))
    return f"{{ me {{ {' '.join(spreads)} }} }} {' '.join(definitions)}"


OF_TWO_VARIABLES = """
    query ($a: ID!, $b: ID!) { user(id: $a) { id } me { id } note(id: $b) { id } }
"""
NAMES_OF_ITS_OWN = "query Q { a: me { ...F } b: me { id c: id } } fragment F on User { id }"
TAGS_OF_NOTES = "{ tags { notes { tags { notes { id } } } } }"
TAG_NOTE = "mutation { tagNote(input: {noteId: 1, tagIds: [1]}) { note { id } } }"
SAME_THRICE = """
    { me { id ...F } ...G } fragment F on User { id } fragment G on Query { me { id } }
"""
FIELDS_OF_FIELDS = "{ __schema { types { fields { type { fields { name } } } } } }"

# the name of the limit, its setting, the value at which the document passes, the document
CASES = [
    ("characters", "max_characters", len(SEED), SEED),
    ("tokens", "max_tokens", 25, SEED),
    ("directives", "max_directives", 3, repeated("a{}: id @skip(if: true)", 3)),
    ("aliases", "max_aliases", 4, repeated("a{}: id", 4)),
    ("fragments", "max_fragments", 3, of_fragments(3)),
    ("variables", "max_variables", 2, OF_TWO_VARIABLES),
    ("unknown_names", "max_unknown_names", 5, NAMES_OF_ITS_OWN),
    ("value_depth", "max_value_depth", 2, TAG_NOTE),
    ("depth", "max_depth", 4, SEED),
    ("complexity", "max_complexity", 10, SEED),
    ("repeats", "max_repeats", 3, SAME_THRICE),
    ("root_fields", "max_root_fields", 3, "{ a: me { id } me { id } tags { id } }"),
    ("list_depth", "max_list_depth", 4, TAGS_OF_NOTES),
    ("introspection_depth", "max_introspection_depth", 2, FIELDS_OF_FIELDS),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "knob", "value", "text"), CASES, ids=[c[0] for c in CASES])
def test_a_limit_holds_at_its_value_and_refuses_one_beyond(limit, knob, value, text):
    assert limit in LIMITS
    loose = {"max_cost": 10**9, knob: value}
    assert prepare(SCHEMA, text, DocumentSettings(**loose))
    assert refusal(text, **{**loose, knob: value - 1}) == {
        "code": "DOCUMENT_TOO_LARGE",
        "limit": limit,
        "allowed": value - 1,
    }


def test_repetitions_are_counted_in_each_selection_set():
    limits = {"max_repeats": 1, "max_aliases": 1}
    fine = """
        { me { id a: id notes { id author { id ... on User { id } ... on User { name } } } } }
    """
    assert prepare(
        SCHEMA, fine.replace("{ id ... on User { id }", "{ id"), DocumentSettings(**limits)
    )
    assert refusal(fine, **limits)["limit"] == "repeats"


def test_the_default_limits_allow_the_seed_query_and_introspection_by_tools():
    assert prepare(SCHEMA, SEED, DocumentSettings())
    assert prepare(SCHEMA, get_introspection_query(), DocumentSettings())
    everything = get_introspection_query(
        descriptions=True, specified_by_url=True, directive_is_repeatable=True,
        schema_description=True, input_value_deprecation=True,
    )  # fmt: skip
    assert prepare(SCHEMA, everything, DocumentSettings())


COUNTABLE = [
    "{ me { " + "id " * 100_000 + "} }",
    "{ me { " + "".join(f"a{n}: id " for n in range(60)) + "} }",
    "{ me { id " + "@skip(if: true) " * 60 + "} }",
    "{ me { " + "id name " * 60 + "} }",
    "{" * 400,
    "{ me(a: " + "[" * 400 + ") }",
    of_fragments(60),
    "{ me { " + " ".join(f"nmae{n}" for n in range(400)) + " } }",
    "{ users(" + " ".join(f"first: $v{n}" for n in range(60)) + ") { id } }",
    "#\n" * 501,
    '"""' + '\\"""' * 3_000,
    '{ me(a: "' + "x" * 1_000_000 + '") { id } }',
]


@pytest.mark.parametrize("text", COUNTABLE, ids=range(len(COUNTABLE)))
def test_countable_excess_is_refused_without_parsing(monkeypatch, text):
    def parsed(*_, **__):
        raise AssertionError("parsed")

    monkeypatch.setattr(document, "parse", parsed)
    if text.startswith('"""'):
        assert len(limits.tokenize(text)) == 1  # the text is one string without an end
    else:
        assert refusal(text)["code"] == "DOCUMENT_TOO_LARGE"


MEASURABLE = [
    "{ me { " + "id " * 40 + "} }",
    "{ " + " ".join(f"...F{n}" for n in range(25)) + " } "
    + " ".join(f"fragment F{n} on Query {{ me {{ id }} }}" for n in range(25)),
    "{ users { notes { tags { notes { tags { notes { id } } } } } } }",
    "{ users(first: 100) { notes { tags { notes { id } } } } }",
    "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
]  # fmt: skip


@pytest.mark.parametrize("text", MEASURABLE, ids=range(len(MEASURABLE)))
def test_measurable_excess_is_refused_without_validation(monkeypatch, text):
    def validated(*_, **__):
        raise AssertionError("validated")

    monkeypatch.setattr(document, "validate", validated)
    assert refusal(text)["code"] in {"DOCUMENT_TOO_LARGE", "COST_TOO_HIGH"}


def test_validation_stops_after_a_few_errors():
    text = "{ me { " + " ".join(f"x{n}" for n in range(80)) + " } }"
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, text, DocumentSettings())
    # one more error says that validation has stopped
    assert len(caught.value.errors) == document.MAX_ERRORS + 1


def test_fragments_that_spread_nothing_but_fragments_are_counted():
    """2 ** 25 spreads and no field: a walk would visit each of them."""
    chain = " ".join(f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(25))
    assert refusal("{ me { ...F0 } } " + chain + " fragment F25 on User { ...No }") == {
        "code": "DOCUMENT_TOO_LARGE",
        "limit": "complexity",
        "allowed": 1_000,
    }


def test_operations_are_counted_together():
    one = "query Q{} {{ me {{ ...F }} }} "
    fragment = "fragment F on User { id name createdAt email }"
    text = "".join(one.format(n) for n in range(3)) + fragment
    assert prepare(SCHEMA, text, DocumentSettings(max_complexity=15))
    assert refusal(text, max_complexity=14)["limit"] == "complexity"


def lexed(text):
    """Return the tokens of graphql-core's lexer."""
    lexer = Lexer(Source(text))
    tokens = []
    while (token := lexer.advance()).kind is not TokenKind.EOF:
        tokens.append(token)
    return tokens


PIECES = st.sampled_from([
    "{", "}", "(", ")", "[", "]", ":", "!", "=", "|", "&", "@", "$", "...", "fragment", "on", "a_1",
    '"x"', '""', '"a \\" b"', '"""b"""', '"""', '"""a " b \\""" "" c"""', '"', "\\", "1", "-1.5e3",
    "0.1", "# c {\n", "\n", ",", " ", "\ufeff", "é", '"é"', "\t",
])  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join))
@example('{a(b:"""x""" c:"")#"\n}')
def test_the_count_of_tokens_is_the_lexers(text):
    try:
        tokens = lexed(text)
    except GraphQLError:
        limits.tokenize(text)
        return
    assert len(limits.tokenize(text)) == len(tokens)


@given(st.text(alphabet='"\\ #\na{', max_size=60))
@example('"""\\"""')
def test_strings_end_where_the_lexers_end(text):
    try:
        tokens = lexed(text)
    except GraphQLError:
        return
    assert len(limits.tokenize(text)) == len(tokens)


def test_parsing_needs_no_limit_of_its_own():
    """A text within the default limits never exhausts the stack of the parser."""
    text = "{" + "a{" * 59 + "b" + "}" * 60
    assert refusal(text)["limit"] == "depth"
    assert parse(text)


@pytest.mark.parametrize("knob", ["max_aliases", "max_cost", "rows_per_point", "remembered"])
def test_limits_are_at_least_1(knob):
    with pytest.raises(ConfigError, match=knob):
        DocumentSettings(**{knob: 0})


def test_a_bucket_holds_the_dearest_operation():
    with pytest.raises(ConfigError):
        Config(rates=RateSettings(address_burst=999))
    assert Config(rates=RateSettings(address_burst=1_000))
    assert Config(rates=RateSettings(address_burst=1, enabled=False))


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_every_attack_is_refused_with_a_code(name):
    with pytest.raises(InvalidDocument) as caught:
        prepare(SCHEMA, DOCUMENTS[name], DocumentSettings())
    codes = {error.extensions["code"] for error in caught.value.errors}
    assert codes <= {
        "COST_TOO_HIGH",
        "DOCUMENT_TOO_LARGE",
        "GRAPHQL_PARSE_FAILED",
        "GRAPHQL_VALIDATION_FAILED",
    }


@pytest.mark.parametrize(
    "text",
    [
        "{ me { ...A } } fragment A on User { ...A }",
        "{ me { id } } fragment A on User { notes { id } ...B } fragment B on User { ...A }",
    ],
)
def test_cycles_are_found_before_validation(monkeypatch, text):
    monkeypatch.setattr(document, "validate", None)
    assert refusal(text) == {"code": "GRAPHQL_VALIDATION_FAILED"}
