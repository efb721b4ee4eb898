"""Plans are known by text, bounded by bytes, and made for operations that recur."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from textwrap import dedent, indent

import pytest
from graphql import GraphQLError, Source, build_schema, parse, visit
from graphql.language import Visitor

from pcf._compat.graphql import estimated_bytes
from pcf.conf.sections import DocumentSettings
from pcf.documents.document import prepare
from pcf.execution.executor import execute
from pcf.execution.plan_cache import CompiledOperation, PlanCache
from pcf.execution.promise_executor import PromiseExecutionContext
from pcf.observability import metrics
from pcf.project.schema import schema as project_schema

SDL = "type Query { a: Int b: Int list: [Query!] deep: Query }"
SCHEMA = build_schema(SDL)
LIST = "{ list { a } }"
ROOT_FOLDER = Path(__file__).parents[2]
ROOT = {"a": 1, "b": 2, "list": [{"a": 3, "b": 4}]}


@pytest.fixture
def compiled():
    """Return a function that counts the plans that were compiled since the start of the test."""

    def total():
        return sum(
            s.value
            for s in metrics.plans_compiled.collect()[0].samples
            if s.name.endswith("_total")
        )

    before = total()
    return lambda: total() - before


def run(text, plans, schema=SCHEMA, root=ROOT, **options):
    document = parse(text) if isinstance(text, str) else text
    return execute(schema, document, root, plan_cache=plans, **options)


def test_an_operation_is_compiled_when_it_recurs(compiled):
    plans = PlanCache()
    for expected in (0, 1, 1, 1):
        assert run(LIST, plans).data == {"list": [{"a": 3}]}
        assert compiled() == expected


def test_an_operation_that_begins_with_an_edge_is_compiled_at_once(compiled):
    plans = PlanCache()
    document = parse("{ users { name } }")
    from pcf.execution.context import RequestContext

    with pytest.raises(BaseException, match="boom"):
        execute(
            project_schema.graphql_schema,
            document,
            context_value=RequestContext(),
            plan_cache=plans,
            check=boom,
        )
    assert compiled() == 1


def boom():
    raise ValueError("boom")


def test_an_operation_without_lists_and_edges_is_compiled_once_and_has_no_plan(compiled):
    plans = PlanCache()
    for _ in range(5):
        assert run("{ a deep { b } }", plans).data == {"a": 1, "deep": None}
    assert compiled() == 1
    assert len(plans) == 0


def test_a_document_that_is_parsed_again_finds_its_plan(compiled):
    plans = PlanCache(eager=True)
    for options in ({}, {"no_location": True}):
        for _ in range(5):
            run(parse(LIST, **options), plans)
    assert compiled() == len(plans) == 2


def test_a_document_that_was_changed_after_parsing_has_a_plan_of_its_own():
    class Rename(Visitor):
        def enter_name(self, node, *_):
            if node.value == "a":
                changed = node.__copy__()
                changed.value = "b"
                return changed
            return None

    plans = PlanCache(eager=True)
    original = parse(LIST)
    changed = visit(original, Rename())
    assert changed.loc == original.loc
    for _ in range(2):
        assert run(original, plans).data == {"list": [{"a": 3}]}
        assert run(changed, plans).data == {"list": [{"b": 4}]}


def test_errors_name_the_source_of_the_document():
    plans = PlanCache(eager=True)
    for name in ("one.graphql", "two.graphql"):
        root = {"list": [{"a": GraphQLError("no")}]}
        (error,) = run(parse(Source(LIST, name)), plans, root=root).errors
        assert f"{name}:1:10" in str(error)


def test_equal_texts_of_two_schemas_have_two_plans():
    plans = PlanCache(eager=True)
    other = build_schema(SDL.replace("a: Int", "a: String"))
    for _ in range(2):
        assert run(LIST, plans).data == {"list": [{"a": 3}]}
        assert run(LIST, plans, other).data == {"list": [{"a": "3"}]}


def test_operations_of_one_document_have_their_own_plans():
    plans = PlanCache(eager=True)
    text = "query A { list { a } } query B { list { b } }"
    for _ in range(2):
        assert run(text, plans, operation_name="A").data == {"list": [{"a": 3}]}
        assert run(text, plans, operation_name="B").data == {"list": [{"b": 4}]}


MEASURE = """
import gc, tracemalloc
import django
django.setup()
from tests.execution.test_plan_cache import *
from graphql import parse
{before}
def work():
{work}
gc.collect()
tracemalloc.start()
kept = work()
gc.collect()
print(tracemalloc.get_traced_memory()[0])
"""


def long_text(number):
    return "{ list { %s } }" % " ".join(f"x{number}y{n}: a" for n in range(60))  # noqa: UP031


def bytes_kept(work, before=""):
    """Return the bytes that the result of ``work`` keeps in a process of its own."""
    code = MEASURE.format(work=indent(dedent(work), "    "), before=dedent(before))
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "settings.test"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(
        run, cwd=ROOT_FOLDER, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


def test_plans_are_bounded_by_bytes():
    taken = bytes_kept(
        """
        plans = PlanCache(2 * 2**20, eager=True)
        for number in range(200):
            run(long_text(number), plans)
        assert 0 < len(plans) < 50
        return plans
        """,
        before="run(long_text(0), PlanCache(eager=True))",
    )
    assert 2**20 < taken < 3 * 2**20


def test_a_document_parsed_again_and_again_takes_no_more_memory():
    taken = bytes_kept(
        """
        for _ in range(100):
            run(long_text(0), plans)
        """,
        before="""
        plans = PlanCache()
        for _ in range(3):
            run(long_text(0), plans)
        """,
    )
    assert taken < 100_000  # one document at the most


@pytest.mark.parametrize(
    "text", [long_text(0), "{ a }", '{ list(x: {a: [1, 2, 3], b: "text"}) { a } }']
)
def test_the_estimate_of_a_document_is_near_its_size(text):
    work = f"return [parse({text!r} + f'#{{number}}') for number in range(20)]"
    taken = bytes_kept(work, before=f"parse({text!r})")
    assert 0.5 < estimated_bytes(parse(text)) / (taken / 20) < 2.5


def test_selections_nested_too_deeply_have_graphql_cores_error():
    chain = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(10_000))
    text = f"{{ ...F0 }} {chain} fragment F10000 on Query {{ a }}"
    for plans in (PlanCache(), PlanCache(eager=True)):
        for options in ({}, {"no_location": True}):
            result = run(parse(text, **options), plans)
            assert result.data is None
            (error,) = result.errors
            assert error.message == "Selections are nested too deeply. Execution aborted."
            assert error.__context__ is None


def test_conditions_of_an_invalid_document_are_graphql_cores_errors():
    document = parse("{ list { a @skip(if: 3) } }")
    expected = run(document, PlanCache())
    assert expected.errors
    assert run(document, PlanCache(eager=True)) == expected


def test_an_operation_is_freed_without_the_garbage_collector():
    """A process that drops operations does not wait for the collector, which runs rarely."""
    text = "{ users(first: 1) { id notes { id author { name } } } }"
    schema = project_schema.graphql_schema

    def compile_and_drop():
        document = prepare(schema, text, DocumentSettings()).node
        context = PromiseExecutionContext.build(schema, document)
        operation = CompiledOperation(context, document)
        operation.plan({})
        assert operation.field_count > 0
        return weakref.ref(operation), weakref.ref(document)

    gc.collect()
    gc.disable()
    try:
        operation, document = compile_and_drop()
        assert operation() is None
        gc.collect(0)  # validation has cycles of its own; they are young
        assert document() is None
    finally:
        gc.enable()
