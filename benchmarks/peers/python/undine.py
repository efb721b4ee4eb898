"""Undine with its optimizer. It parses and validates each document once; ids are integers.

Undine's documentation calls its synchronous view the faster one, so it is served by WSGI.
"""

from typing import Any

from django.db.models import QuerySet
from django.urls import include, path
from undine import Entrypoint, Field, GQLInfo, QueryType, RootType, create_schema
from undine.optimizer import optimize_sync

from benchmarks.peers.python.models import VISIBLE, Note, Tag, User


class TagType(QueryType[Tag], auto=False, schema_name="Tag"):
    id = Field()
    name = Field()


class UserType(QueryType[User], auto=False, schema_name="User"):
    id = Field()
    name = Field()
    notes = Field()


class NoteType(QueryType[Note], auto=False, schema_name="Note"):
    id = Field()
    title = Field()
    author = Field()
    tags = Field()

    @classmethod
    def __filter_queryset__(cls, queryset: QuerySet[Note], info: GQLInfo) -> QuerySet[Note]:
        del info
        return queryset.filter(VISIBLE)


class Query(RootType):
    @Entrypoint
    def users(self, info: GQLInfo, *, first: int = 20) -> list[UserType]:
        return optimize_sync(User.objects.order_by("id"), info, limit=first)

    @Entrypoint
    def note(self, info: GQLInfo, *, id: int) -> NoteType | None:  # noqa: A002 - the schema's name
        return optimize_sync(Note.objects.all(), info, pk=id)

    @Entrypoint
    def notes(self, info: GQLInfo, *, after: int, first: int = 20) -> list[NoteType]:
        found = Note.objects.filter(id__gt=after).order_by("id")
        return optimize_sync(found, info, limit=first)


schema: Any = create_schema(query=Query)
urlpatterns = [path("", include("undine.http.urls"))]
