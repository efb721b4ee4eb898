"""Types declare cache hints; the selections of an operation determine its hint."""

import graphene
import pytest
from graphql import parse

from pcf.execution.cache_hints import CacheHint, cache_hints, operation_hint

PUBLIC = CacheHint(public=True)


@cache_hints(CacheHint(max_age=50), id=PUBLIC, long_name=CacheHint(public=True, max_age=20))
class Leaf(graphene.ObjectType):
    id = graphene.ID()
    long_name = graphene.String()
    secret = graphene.String()


class Named(graphene.Interface):
    title = graphene.String()


@cache_hints(title=CacheHint(max_age=7))
class Book(graphene.ObjectType):
    class Meta:
        interfaces = (Named,)


@cache_hints(
    leaf=CacheHint(public=True, stale=30, max_age=100),
    never=CacheHint(max_age=0),
    fresh=CacheHint(public=True, stale=10),
)
class Part(graphene.ObjectType):
    leaf = graphene.Field(Leaf)
    never = graphene.Int()
    fresh = graphene.Field(Leaf)


@cache_hints(once=CacheHint(shared=True, max_age=60))
class Query(Part):
    plain = graphene.Int()
    once = graphene.Int()
    book = graphene.Field(Named)


schema = graphene.Schema(query=Query, types=[Book]).graphql_schema


def hint(text):
    document = parse(text)
    return operation_hint(schema, document, document.definitions[0])


@pytest.mark.parametrize(
    ("query", "max_age", "public", "stale"),
    [
        ("{ leaf { id } }", 100, True, 30),
        ("{ other: leaf { renamed: longName } }", 20, True, 30),
        ("{ leaf { secret } }", 50, False, 30),
        ("{ leaf { id } plain }", 100, False, 0),
        ("{ leaf { id } fresh { id } }", 100, True, 10),
        ("{ fresh { id } }", None, True, 10),
        ("{ never }", 0, False, 0),
        ("{ fresh { id } never @skip(if: true) }", 0, False, 0),
        ("{ leaf { ...L } } fragment L on Leaf { id longName }", 20, True, 30),
        ("{ ...Q } fragment Q on Query { leaf { ... on Leaf { secret } } }", 50, False, 30),
        ("{ leaf { ...L } fresh { ...L } } fragment L on Leaf { id }", 100, True, 10),
        ("{ ... { plain } }", None, False, 0),
        ("{ book { ... on Book { title } } }", 7, False, 0),
        ("{ __typename }", None, True, 0),
        ("{ __typename fresh { __typename } }", None, True, 10),
    ],
)
def test_the_smallest_wins_and_public_needs_every_field(query, max_age, public, stale):
    found = hint(query)
    assert (found.max_age, found.public, found.stale) == (max_age, public, stale)


@pytest.mark.parametrize(
    ("query", "shared", "public"),
    [
        ("{ once }", True, False),
        ("{ fresh { id } }", True, True),
        ("{ once fresh { id } }", True, False),
        ("{ once plain }", False, False),
        ("{ once plain @skip(if: true) }", False, False),
        ("{ once fresh { secret } }", False, False),
    ],
)
def test_shared_needs_every_field_to_be_shared_or_public(query, shared, public):
    found = hint(query)
    assert (found.is_shared, found.public) == (shared, public)


def test_declarations_that_cannot_be_meant_are_refused():
    with pytest.raises(TypeError, match="Leaf has no field nope"):
        cache_hints(nope=PUBLIC)(Leaf)
    with pytest.raises(TypeError, match="field by field"):
        cache_hints(PUBLIC)
    with pytest.raises(TypeError, match="field by field"):
        cache_hints(CacheHint(shared=True))
    with pytest.raises(ValueError, match="seconds"):
        CacheHint(max_age=-1)
