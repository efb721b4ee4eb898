"""A schema whose fields read the database in every way but by a loader."""

from concurrent.futures import ThreadPoolExecutor

import graphene
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from graphene import relay
from graphene_django import DjangoConnectionField, DjangoListField, DjangoObjectType
from graphene_django.registry import Registry
from promise import Promise
from promise.dataloader import DataLoader

from notes.models import Note, NoteTag
from pcf.database.statements import for_thread, query_with_timeout
from pcf.execution.dependencies import WHOLE
from pcf.execution.edges import RootEdge, Route
from tags.models import Tag
from users.models import User

own, seen = Registry(), Registry()  # of graphene-django: the project's types keep theirs
ALL_TAGS = "SELECT name FROM tags_tag ORDER BY id"


class TagNode(DjangoObjectType):
    class Meta:
        model = Tag
        registry = own
        fields = ("id", "name")
        interfaces = (relay.Node,)


class Writer(DjangoObjectType):
    class Meta:
        model = User
        registry = own
        fields = ("id", "name")


class SeenTag(DjangoObjectType):
    """A type whose relations go through ``get_queryset``."""

    class Meta:
        model = Tag
        registry = seen
        fields = ("id", "name")

    @classmethod
    def get_queryset(cls, queryset, info):
        del info
        return queryset.exclude(name="")


class Labelled(DjangoObjectType):
    """A label of a note; its keys and columns are no statements."""

    tag_id = graphene.Int()

    class Meta:
        model = NoteTag
        registry = seen
        fields = ("id", "tag")


class Text(DjangoObjectType):
    """A note with relations that are no edges."""

    author_name = graphene.String()
    declared_author_name = graphene.String()

    class Meta:
        model = Note
        registry = own
        fields = ("id", "title", "author", "tags")

    @staticmethod
    def resolve_author_name(note, _info):
        return note.author.name

    @staticmethod
    def resolve_declared_author_name(note, info):
        with info.context.reads("user", note.author_id):
            return note.author.name


class Shelf:
    """An object with a property that reads the database."""

    @property
    def names(self):
        return list(Tag.objects.order_by("pk").values_list("name", flat=True))

    @property
    def lazy(self):
        return Tag.objects.order_by("pk").values_list("name", flat=True)


class ShelfType(graphene.ObjectType):
    names = graphene.List(graphene.String)
    lazy = graphene.List(graphene.String)


class Answer(graphene.Interface):
    name = graphene.String()

    @classmethod
    def resolve_type(cls, _value, _info):
        return Named if Tag.objects.filter(name="pink").exists() else Asked


class Asked(graphene.ObjectType):
    """A type whose check reads the database."""

    class Meta:
        interfaces = (Answer,)

    @classmethod
    def is_type_of(cls, _value, _info):
        return Tag.objects.exists()

    @staticmethod
    def resolve_name(_root, _info):
        return "asked"


class Named(graphene.ObjectType):
    class Meta:
        interfaces = (Answer,)


class TagNames(DataLoader):
    """A DataLoader that is no loader of PCF."""

    def batch_load_fn(self, keys):
        return Promise.resolve([names() for _ in keys])


def names():
    return list(Tag.objects.order_by("pk").values_list("name", flat=True))


def rows_of(cursor):
    return [name for (name,) in cursor.execute(ALL_TAGS).fetchall()]


def with_cursor(_root, _info):
    with connection.cursor() as cursor:
        cursor.execute(ALL_TAGS)
        return [name for (name,) in cursor.fetchall()]


def with_copy(_root, _info):
    with connection.cursor() as cursor, cursor.copy(f"COPY ({ALL_TAGS}) TO STDOUT") as copy:
        return [name for (name,) in copy.rows()]


def with_sqlite(_root, _info):
    other = SQLite({**connection.settings_dict, "NAME": ":memory:", "OPTIONS": {}}, "other")
    with other.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()")
        return names_of_length(len(cursor.fetchall()))


def names_of_length(length):
    return [None] * length


def with_psycopg(_root, _info):
    connection.ensure_connection()
    with connection.connection.cursor() as cursor:
        return rows_of(cursor)


def with_inner_cursor(_root, _info):
    with connection.cursor() as cursor:
        return [name for (name,) in cursor.cursor.stream(ALL_TAGS)]


def with_thread(_root, _info):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(for_thread(names)).result()


def foreign_names():
    try:
        return names()
    finally:
        connection.close()


def with_foreign_thread(_root, _info):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(foreign_names).result()


def with_limited_foreign_thread(_root, _info):
    with ThreadPoolExecutor(1) as pool:
        return [name for (name,) in pool.submit(foreign_rows).result()]


def foreign_rows():
    try:
        return query_with_timeout(ALL_TAGS, None, 5.0)
    finally:
        connection.close()


def with_async(_root, _info):
    async def read():
        return await sync_to_async(names)()

    return async_to_sync(read)()


def with_failure(_root, _info):
    try:
        Tag.objects.extra(where=["no_such_column = 1"]).exists()
    except Exception:  # noqa: BLE001
        return names()
    return []


def tags_route(_context, _arguments):
    assert Tag.objects.count() > 0
    return Route("tags.AllTags", WHOLE, {"first": 50, "after": 0})


RESOLVERS = {
    "orm": lambda _root, _info: names(),
    "lazy": lambda _root, _info: Tag.objects.order_by("pk").values_list("name", flat=True),
    "generator": lambda _root, _info: (tag.name for tag in Tag.objects.order_by("pk").iterator()),
    "promised": lambda _root, _info: Promise.resolve(None).then(lambda _: names()),
    "data_loader": lambda _root, _info: TagNames().load(1),
    "raw": lambda _root, _info: [tag.name for tag in Tag.objects.raw("SELECT * FROM tags_tag")],
    "limited": lambda _root, _info: [name for (name,) in query_with_timeout(ALL_TAGS, None, 5)],
    "cursor": with_cursor,
    "copy": with_copy,
    "psycopg": with_psycopg,
    "inner_cursor": with_inner_cursor,
    "thread": with_thread,
    "foreign_thread": with_foreign_thread,
    "limited_foreign_thread": with_limited_foreign_thread,
    "asynchronous": with_async,
    "failure": with_failure,
    "sqlite": with_sqlite,
}


def read_declared(_root, info):
    with info.context.reads("tags"), info.context.reads("tag", *Tag.objects.none()):
        tags = list(Tag.objects.order_by("pk"))
        info.context.dependencies.add("tag", [tag.pk for tag in tags])
    return [tag.name for tag in tags]


def read_misspelt(_root, info):
    with info.context.reads("tagz"):
        return names()


def root_page(loader):
    name, page = f"tests.http.{loader}", {"first": 50, "after": 0}
    return RootEdge(Text, loaders=(name,), many=True, route=lambda *_: Route(name, WHOLE, page))


class Query(graphene.ObjectType):
    """Each field reads the tags, or the authors of notes, outside of loaders."""

    locals().update({name: graphene.List(graphene.String) for name in RESOLVERS})
    locals().update({f"resolve_{name}": staticmethod(each) for name, each in RESOLVERS.items()})
    tag_list = DjangoListField(TagNode)
    connection = DjangoConnectionField(TagNode)
    node = relay.Node.Field()
    shelf = graphene.Field(ShelfType)
    asked = graphene.Field(Asked)
    answer = graphene.Field(Answer)
    declared = graphene.List(graphene.String)
    texts = RootEdge(
        Text, loaders=("notes.AllNotes",), many=True, first=50,
        route=lambda _context, arguments: Route(
            "notes.AllNotes", WHOLE, {"first": arguments["first"], "after": 0}),
    )  # fmt: skip
    due = root_page("DueNotes")
    unless_banned = root_page("UnlessBanned")
    routed = RootEdge(TagNode, loaders=("tags.AllTags",), many=True, route=tags_route)
    lazy_loader = RootEdge(
        TagNode,
        loaders=("tests.http.LazyTags",),
        many=True,
        route=lambda *_: Route("tests.http.LazyTags", WHOLE),
    )
    part_loader = RootEdge(
        Text,
        loaders=("tests.http.PartNotes",),
        many=True,
        route=lambda *_: Route("tests.http.PartNotes", WHOLE),
    )

    misspelt = graphene.List(graphene.String)

    resolve_declared = staticmethod(read_declared)
    resolve_misspelt = staticmethod(read_misspelt)

    @staticmethod
    def resolve_shelf(_root, _info):
        return Shelf()

    @staticmethod
    def resolve_asked(_root, _info):
        return object()

    @staticmethod
    def resolve_answer(_root, _info):
        return {"name": "x"}


graphene_schema = graphene.Schema(query=Query, types=[Named, Asked, Labelled])
SCHEMA = graphene_schema.graphql_schema
