"""The promise executor accepts promises wherever graphql-core accepts awaitables."""

from collections.abc import Iterator

import pytest
from graphql import GraphQLError, build_schema, parse
from promise import Promise

from pcf.execution.executor import execute_with_promises
from pcf.execution.promises import promise_scope, run
from tests.execution.helpers import Recording, ask, errors, later


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    """Open a scope, so that promises made before an operation are pending at its start."""
    with promise_scope():
        yield


def test_promised_fields_keep_the_order_of_keys():
    root = {"a": later(1), "b": 2, "c": Promise.resolve(3), "d": later(later(4))}
    result = ask("type Query { a: Int b: Int c: Int d: Int }", "{ d c b a }", root)
    assert result.errors is None
    assert list(result.data.items()) == [("d", 4), ("c", 3), ("b", 2), ("a", 1)]


def test_two_levels_of_loads_are_one_batch_each():
    notes, authors = Recording(), Recording()
    schema = build_schema(
        "type Query { notes: [Note] } type Note { author: User } type User { tag: ID }"
    )
    schema.type_map["Query"].fields["notes"].resolve = lambda *_: [1, 2, 3]
    schema.type_map["Note"].fields["author"].resolve = lambda note, _: authors.load(note % 2)
    schema.type_map["User"].fields["tag"].resolve = lambda user, _: notes.load(user)
    result = execute_with_promises(schema, parse("{ notes { author { tag } } }"))
    assert result.errors is None
    assert authors.batches == [[1, 0]]
    assert notes.batches == [["value 1", "value 0"]]


def test_a_rejected_field_is_null_and_its_error_is_located():
    reason = ValueError("no")
    result = ask("type Query { a: Int b: Int }", "{ a\n  b }", {"a": later(1), "b": later(reason)})
    assert result.data == {"a": 1, "b": None}
    (error,) = result.errors
    assert (error.message, error.path) == ("no", ["b"])
    assert [(place.line, place.column) for place in error.locations] == [(2, 3)]
    assert error.original_error is reason


def test_extensions_of_a_rejection_reach_the_result():
    reason = GraphQLError("no", extensions={"code": "FORBIDDEN"})
    (error,) = ask("type Query { a: Int }", "{ a }", {"a": later(reason)}).errors
    assert error.extensions == {"code": "FORBIDDEN"}


LISTS = "type Query { nullable: [Int] strict: [Int!] nested: [[Int!]]! }"


def test_a_rejected_item_nulls_itself_only():
    root = {"nullable": [1, later(ValueError("no")), later(3), Promise.resolve(4)]}
    result = ask(LISTS, "{ nullable }", root)
    assert result.data == {"nullable": [1, None, 3, 4]}
    assert errors(result) == [("no", ["nullable", 1])]


def test_a_rejected_item_that_must_not_be_null_nulls_the_list():
    result = ask(LISTS, "{ strict }", {"strict": later((1, later(ValueError("no"))))})
    assert result.data == {"strict": None}
    assert errors(result) == [("no", ["strict", 1])]


def test_lists_of_lists_take_promises_at_each_level():
    inner = [later(None), 2]
    root = {"nested": later([[1, later(2)], later([3]), later(inner), (n for n in (5, later(6)))])}
    result = ask(LISTS, "{ nested }", root)
    assert result.data == {"nested": [[1, 2], [3], None, [5, 6]]}
    message = "Cannot return null for non-nullable field Query.nested."
    assert errors(result) == [(message, ["nested", 2, 0])]


def test_a_promise_of_something_that_is_no_list_is_an_error():
    result = ask(LISTS, "{ nullable }", {"nullable": later(5)})
    message = "Expected Iterable, but did not find one for field 'Query.nullable'."
    assert errors(result) == [(message, ["nullable"])]


CHAIN = "type Query { a: A other: Int } type A { b: B! x: Int } type B { c: C! } type C { d: Int! }"


def test_null_rises_to_the_nearest_nullable_place():
    deep = {"b": later({"c": later({"d": later(ValueError("deep"))})}), "x": 1}
    result = ask(CHAIN, "{ a { x b { c { d } } } other }", {"a": later(deep), "other": later(1)})
    assert result.data == {"a": None, "other": 1}
    assert errors(result) == [("deep", ["a", "b", "c", "d"])]


def test_null_rises_to_the_root():
    result = ask("type Query { a: Int! b: Int }", "{ a b }", {"a": later(None), "b": later(2)})
    assert result.data is None
    message = "Cannot return null for non-nullable field Query.a."
    assert errors(result) == [(message, ["a"])]


def test_later_failures_below_a_null_place_are_left_out():
    called = []

    def slow(_info):
        return later(None).then(later).then(lambda _: {"d": lambda _: called.append("d")})

    sdl = "type Query { a: A } type A { now: Int! slow: D fails: Int } type D { d: Int }"
    a = {"now": later(None), "slow": slow, "fails": later(later(later(ValueError("late"))))}
    result = ask(sdl, "{ a { now slow { d } fails } }", {"a": a})
    assert result.data == {"a": None}
    assert errors(result) == [("Cannot return null for non-nullable field A.now.", ["a", "now"])]
    assert called == []


GIVEN_UP = "type Query { a: A list: [D] b: Int } type A { first: D second: Int! } type D { d: Int }"


def test_an_error_raised_at_once_gives_up_the_promises_before_it():
    called = []

    def fail(_info):
        raise ValueError("at once")

    a = {"first": later({"d": lambda _: called.append("d")}), "second": fail}
    result = ask(GIVEN_UP, "{ a { first { d } second } b }", {"a": a, "b": later(later(1))})
    assert result.data == {"a": None, "b": 1}
    assert errors(result) == [("at once", ["a", "second"])]
    assert called == []


def test_a_generator_that_breaks_gives_up_its_items():
    called = []

    def items(_info):
        yield later({"d": lambda _: called.append("d")})
        raise ValueError("broken")

    result = ask(GIVEN_UP, "{ list { d } b }", {"list": items, "b": later(later(1))})
    assert result.data == {"list": None, "b": 1}
    assert errors(result) == [("broken", ["list"])]
    assert called == []


def test_an_error_that_arrives_while_a_sibling_waits_itself_reaches_the_object():
    pending = later(ValueError("meanwhile"))

    def wait(_info):
        run(later(None).then(later).then(later))
        return 1

    sdl = "type Query { a: A } type A { first: Int! second: Int }"
    result = ask(sdl, "{ a { first second } }", {"a": {"first": lambda _: pending, "second": wait}})
    assert result.data == {"a": None}
    assert errors(result) == [("meanwhile", ["a", "first"])]


def mutate(query, sdl="first: Box second: Box third: Int"):
    log = []
    loader = Recording()

    def step(name):
        def resolve(_info):
            log.append(f"{name} begins")
            inside = later(None).then(later).then(lambda _: log.append(f"{name} ends"))
            return later({"inside": inside.then(lambda _: loader.load(name))})

        return resolve

    root = {
        "first": step("first"),
        "second": step("second"),
        "third": lambda _: log.append("third"),
    }
    schema = f"type Query {{ a: Int }} type Mutation {{ {sdl} }} type Box {{ inside: String }}"
    return ask(schema, query, root), log, loader


def test_a_mutations_fields_run_one_after_the_other_to_their_ends():
    result, log, loader = mutate("mutation { second { inside } first { inside } third }")
    assert result.data == {
        "second": {"inside": "value second"},
        "first": {"inside": "value first"},
        "third": None,
    }
    assert log == ["second begins", "second ends", "first begins", "first ends", "third"]
    assert loader.batches == [["second"], ["first"]]


def test_a_mutation_ends_at_a_root_field_that_nulls_the_response():
    begun = []
    root = {"a": lambda _: later(None), "b": lambda _: begun.append("b")}
    sdl = "type Query { x: Int } type Mutation { a: Int! b: Int }"
    result = ask(sdl, "mutation { a b }", root)
    assert result.data is None
    assert errors(result) == [("Cannot return null for non-nullable field Mutation.a.", ["a"])]
    assert begun == []


def test_a_mutation_field_that_fails_does_not_stop_the_next():
    sdl = "type Query { x: Int } type Mutation { a: Int b: Int }"
    result = ask(sdl, "mutation { a b }", {"a": later(ValueError("no")), "b": later(2)})
    assert result.data == {"a": None, "b": 2}
    assert errors(result) == [("no", ["a"])]


ANIMALS = """
type Query { pet: Pet any: Any }
interface Pet { name: String }
type Cat implements Pet { name: String }
type Dog implements Pet { name: String }
union Any = Cat | Dog
"""
TOM = {"name": later("Tom")}


def animals(**questions):
    schema = build_schema(ANIMALS)
    for name, question in questions.items():
        attribute = "is_type_of" if name in {"Cat", "Dog"} else "resolve_type"
        setattr(schema.type_map[name], attribute, question)
    query = "{ pet { __typename name } }"
    return execute_with_promises(schema, parse(query), root_value={"pet": later(TOM)})


@pytest.mark.parametrize(
    "questions",
    [
        {"Pet": lambda *_: later("Cat")},
        {"Cat": lambda *_: later(True), "Dog": lambda *_: later(False)},
        {"Dog": lambda *_: later(False), "Cat": lambda *_: True},
        {"Pet": lambda *_: "Cat", "Cat": lambda *_: later(True)},
    ],
)
def test_the_type_of_an_object_may_be_promised(questions):
    result = animals(**questions)
    assert result.errors is None
    assert result.data == {"pet": {"__typename": "Cat", "name": "Tom"}}


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ({"Pet": lambda *_: later(ValueError("no"))}, "no"),
        ({"Cat": lambda *_: later(ValueError("no"))}, "no"),
        ({"Pet": lambda *_: later("Bird")}, "resolved to a type 'Bird' that does not exist"),
        ({"Pet": lambda *_: later(None)}, "must resolve to an Object type at runtime"),
        ({"Cat": lambda *_: later(False)}, "must resolve to an Object type at runtime"),
        (
            {"Pet": lambda *_: "Cat", "Cat": lambda *_: later(False)},
            "Expected value of type 'Cat' but got",
        ),
    ],
)
def test_a_wrong_promise_of_a_type_is_an_error_of_the_field(questions, message):
    result = animals(**questions)
    assert result.data == {"pet": None}
    (error,) = result.errors
    assert message in error.message
    assert error.path == ["pet"]


def test_middleware_sees_promises_and_may_add_its_own():
    seen = []

    def shout(next_, root, info, **arguments):
        result = next_(root, info, **arguments)
        seen.append(info.is_awaitable(result))
        return result.then(str.upper) if info.is_awaitable(result) else later(result)

    root = {"a": later("loud"), "b": "quiet"}
    result = ask("type Query { a: String b: String }", "{ a b }", root, middleware=[shout])
    assert result.data == {"a": "LOUD", "b": "quiet"}
    assert seen == [True, False]


def test_a_coroutine_is_an_error_with_advice():
    async def resolve(_info):
        """Never awaited."""

    result = ask(
        "type Query { a: [Int] b: Int }", "{ a b }", {"a": lambda i: [resolve(i)], "b": resolve}
    )
    assert result.data == {"a": [None], "b": None}
    assert [error.path for error in result.errors] == [["a", 0], ["b"]]
    assert all("has to return a value or a promise" in error.message for error in result.errors)


def test_a_promise_that_nothing_settles_is_an_error_of_its_field():
    result = ask("type Query { a: Int b: Int }", "{ a b }", {"a": Promise(), "b": later(2)})
    assert result.data == {"a": None, "b": 2}
    (error,) = result.errors
    assert error.path == ["a"]
    assert "would wait for ever" in error.message


def test_more_fields_may_share_a_promise_than_promise_takes_handlers():
    shared = later(7)
    root = {"a": [shared] * 70_000}
    result = ask("type Query { a: [Int] }", "{ a }", root)
    assert result.errors is None
    assert result.data["a"] == [7] * 70_000


def test_a_deep_document_needs_no_deep_stack():
    sdl = "type Query { a: A } type A { a: A end: Int }"
    node = {"end": 1}
    node["a"] = lambda _: later(node)
    depth = 150
    result = ask(sdl, "{ a " * depth + "{ end }" + "}" * depth, node)
    assert result.errors is None
