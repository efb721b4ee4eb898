"""The internals of graphene-django 3.2 that ``pcf._compat.graphene_django`` uses."""

import graphene_django
import pytest
from graphene_django import DjangoObjectType

from pcf._compat.graphene_django import is_default_type_check, is_primary_key_resolver, model_of
from pcf.project.schema import schema
from tags.models import Tag
from users.models import User
from users.schema import UserType

CHANGED = "graphene-django has changed: see pcf/_compat/graphene_django.py"

USER = schema.graphql_schema.type_map["User"]


def test_the_version_is_one_that_the_module_was_written_for():
    assert graphene_django.__version__.startswith("3.2."), CHANGED


def test_a_type_knows_its_model():
    assert model_of(UserType) is User, CHANGED


def test_the_resolver_of_the_id_returns_the_primary_key():
    resolve = USER.fields["id"].resolve
    assert is_primary_key_resolver(resolve), CHANGED
    assert resolve(User(pk=7), None) == 7, CHANGED
    assert not is_primary_key_resolver(USER.fields["name"].resolve)


def test_the_type_check_looks_at_the_class_alone():
    assert is_default_type_check(USER.is_type_of), CHANGED
    answers = [USER.is_type_of(value, None) for value in (User(), User(pk=7), Tag())]
    assert answers == [True, True, False], CHANGED
    with pytest.raises(Exception, match="incompatible instance"):
        USER.is_type_of("text", None)


def test_a_type_check_of_its_own_is_not_the_default():
    class Picky(DjangoObjectType):
        class Meta:
            model = Tag
            fields = ("id",)
            skip_registry = True

        @classmethod
        def is_type_of(cls, root, info):
            return False

    assert not is_default_type_check(Picky.is_type_of)
