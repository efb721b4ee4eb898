"""strawberry-django with its optimizer. It parses and validates each document once."""

from typing import Any

import strawberry
import strawberry_django
from django.db.models import QuerySet
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from strawberry.django.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache
from strawberry_django.optimizer import DjangoOptimizerExtension

from benchmarks.peers.python.models import VISIBLE, Note, Tag, User


@strawberry_django.type(Tag, name="Tag")
class TagType:
    id: strawberry.auto
    name: strawberry.auto


@strawberry_django.type(User, name="User")
class UserType:
    id: strawberry.auto
    name: strawberry.auto
    notes: list["NoteType"]


@strawberry_django.type(Note, name="Note")
class NoteType:
    id: strawberry.auto
    title: strawberry.auto
    author: UserType
    tags: list[TagType]

    @classmethod
    def get_queryset(cls, queryset: QuerySet[Note], _info: Any, **_: Any) -> QuerySet[Note]:
        # a page is sliced already, and Django refuses conditions then
        return queryset if queryset.query.is_sliced else queryset.filter(VISIBLE)


@strawberry.type
class Query:
    @strawberry_django.field
    def users(self, first: int = 20) -> list[UserType]:
        return User.objects.order_by("id")[:first]  # type: ignore[return-value]

    @strawberry_django.field
    def note(self, id: strawberry.ID) -> NoteType | None:  # noqa: A002 - the schema's name
        return Note.objects.filter(pk=id)  # type: ignore[return-value]

    @strawberry_django.field
    def notes(self, after: strawberry.ID, first: int = 20) -> list[NoteType]:
        found = Note.objects.filter(VISIBLE, id__gt=after).order_by("id")
        return found[:first]  # type: ignore[return-value]


schema = strawberry.Schema(
    query=Query, extensions=[DjangoOptimizerExtension, ParserCache, ValidationCache]
)
urlpatterns = [path("graphql", csrf_exempt(GraphQLView.as_view(schema=schema)))]
