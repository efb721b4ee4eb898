"""The report of N+1 statements names the field."""

import logging

import graphene
import pytest

from notes.models import Note
from pcf.http.request import GraphQLRequest
from pcf.timeouts import TimeoutContext
from tests.serving import service_of
from users.authentication import find_credentials
from users.models import User


class Person(graphene.ObjectType):
    notes = graphene.Int()

    @staticmethod
    def resolve_notes(person, _info):
        return Note.objects.filter(author_id=person.pk).count()


class Query(graphene.ObjectType):
    people = graphene.List(Person)

    @staticmethod
    def resolve_people(_root, _info):
        return list(User.objects.all())


@pytest.fixture
def service():
    """A service that sends one statement for each person, which loaders prevent."""
    schema = graphene.Schema(query=Query).graphql_schema
    return service_of(schema, find_credentials)


def answer(service, query):
    request = GraphQLRequest(query=query)
    return service.answer(request, TimeoutContext.start("http", 30))


@pytest.mark.repeats
def test_an_n_plus_one_is_reported_with_its_field(world, service, repetitions, caplog):
    with caplog.at_level(logging.WARNING, "pcf.n_plus_one"):
        assert answer(service, "{ all: people { count: notes } }").status == 200
    (line,) = [record for record in caplog.records if record.name == "pcf.n_plus_one"]
    assert line.getMessage().startswith("N+1 at people.notes: 3 times SELECT COUNT(*)")
    assert line.fields["statement"].endswith('WHERE "notes_note"."author_id" = %s')
    with pytest.raises(  # a test without the mark fails so
        AssertionError, match=r"N\+1 at people\.notes"
    ):
        repetitions.check()


def test_repetitions_within_the_limit_are_no_n_plus_one(world, service, repetitions):
    world.staff.delete()
    assert answer(service, "{ people { notes } }").status == 200
    repetitions.check()
