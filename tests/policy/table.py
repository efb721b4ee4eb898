"""The permissions of every field and mutation, as the matrix test expects them.

The table holds every field of every type of the schema, every argument, every mutation, and every
field of an input. ``test_matrix`` fails for a new one until the table says which viewers may see
it. The table repeats the rules on purpose and does not use the apps' ``policy`` modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from notes.models import Note
from pcf.execution.nodes import make_node_id
from pcf.viewer import Viewer
from tags.models import Tag
from tests.conftest import World
from tests.policy.mutations import (
    ABSENT,
    ACCOUNT_MUTATIONS,
    MUTATION_INPUTS,
    MUTATIONS,
    PAYLOADS,
)
from users.models import ApiToken, User

Rule = Callable[[Viewer, Any], bool]  # whether this viewer may see the field of this row


def everyone(_viewer: Viewer, _row: Any) -> bool:
    return True


def oneself_and_staff(viewer: Viewer, user: User) -> bool:
    return viewer.is_staff or viewer.id == user.pk


def readers(viewer: Viewer, note: Note) -> bool:
    if note.deleted_at is not None:
        return False
    return viewer.is_staff or note.is_public or viewer.id == note.author_id


def writers(viewer: Viewer, note: Note) -> bool:
    return viewer.is_staff or (viewer.id is not None and viewer.id == note.author_id)


def own_trash(viewer: Viewer, note: Note) -> bool:
    return note.deleted_at is not None and viewer.id is not None and viewer.id == note.author_id


@dataclass(frozen=True)
class Count:
    """The number of ``rows`` of a type that the viewer may see."""

    type_name: str
    rows: list[Any]


def notes_of(user: User) -> list[Note]:
    return list(Note.objects.filter(author=user))


def notes_with(tag: Tag) -> list[Note]:
    return list(Note.objects.filter(tags=tag))


def tags_of(note: Note) -> list[Tag]:
    return list(Tag.objects.filter(notes=note))


def own(viewer: Viewer, row: Any) -> bool:
    return viewer.id is not None and viewer.id == row.user_id


def tokens_of(user: User) -> list[ApiToken]:
    return list(ApiToken.objects.filter(user=user, session=None, revoked_at=None))


def isoformat(moment: Any) -> str | None:
    return moment and moment.isoformat()


MODELS = {"User": User, "Tag": Tag, "Note": Note}

# A row that a viewer may not see is missing in a list, and null in a single place.
ROWS: dict[str, Rule] = {"User": everyone, "Tag": everyone, "Note": readers}

# Sessions and tokens are for their owner alone.
ROWS |= {"Session": own, "ApiToken": own}

# A connection with rules of its own shows rows that no other field shows.
CONNECTED_ROWS: dict[str, Rule] = {"TrashConnection": own_trash}


@dataclass(frozen=True)
class Field:
    """The viewers that see a field of a row, and what they see: a value, or the rows of an edge."""

    who: Rule
    what: Callable[[Any], Any]


FIELDS = {
    "User.id": Field(everyone, lambda user: str(user.pk)),
    "User.nodeId": Field(everyone, lambda user: make_node_id("User", user.pk)),
    "User.name": Field(everyone, lambda user: user.name),
    "User.createdAt": Field(everyone, lambda user: user.created_at.isoformat()),
    "User.email": Field(oneself_and_staff, lambda user: user.email),
    "User.confirmedEmail": Field(oneself_and_staff, lambda user: user.confirmed_email),
    "User.notes": Field(everyone, notes_of),
    "User.notesConnection": Field(everyone, notes_of),
    "User.noteCount": Field(everyone, lambda user: Count("Note", notes_of(user))),
    "User.trash": Field(everyone, notes_of),
    "Note.id": Field(everyone, lambda note: str(note.pk)),
    "Note.nodeId": Field(everyone, lambda note: make_node_id("Note", note.pk)),
    "Note.title": Field(everyone, lambda note: note.title),
    "Note.content": Field(everyone, lambda note: note.content),
    "Note.isPublic": Field(everyone, lambda note: note.is_public),
    "Note.createdAt": Field(everyone, lambda note: note.created_at.isoformat()),
    "Note.updatedAt": Field(everyone, lambda note: note.updated_at.isoformat()),
    "Note.deletedAt": Field(everyone, lambda note: note.deleted_at and note.deleted_at.isoformat()),
    "Note.version": Field(everyone, lambda note: note.version),
    "Note.author": Field(everyone, lambda note: note.author),
    "Note.tags": Field(everyone, tags_of),
    "Note.tagsConnection": Field(everyone, tags_of),
    "Tag.id": Field(everyone, lambda tag: str(tag.pk)),
    "Tag.nodeId": Field(everyone, lambda tag: make_node_id("Tag", tag.pk)),
    "Tag.name": Field(everyone, lambda tag: tag.name),
    "Tag.notes": Field(everyone, notes_with),
    "Tag.notesConnection": Field(everyone, notes_with),
    "Tag.noteCount": Field(everyone, lambda tag: Count("Note", notes_with(tag))),
    "User.sessions": Field(everyone, lambda user: list(user.sessions.all())),
    "User.tokens": Field(everyone, tokens_of),
    "Session.device": Field(everyone, lambda session: session.device),
    "Session.isCurrent": Field(everyone, lambda session: session.device == CURRENT),
    "ApiToken.name": Field(everyone, lambda token: token.name),
    **{
        f"{name}.{key}": field
        for name in ("Session", "ApiToken")
        for key, field in {
            "id": Field(everyone, lambda row: str(row.pk)),
            "scope": Field(everyone, lambda row: row.scope.upper()),
            "createdAt": Field(everyone, lambda row: row.created_at.isoformat()),
            "lastUsedAt": Field(everyone, lambda row: isoformat(row.last_used_at)),
            "expiresAt": Field(everyone, lambda row: isoformat(row.expires_at)),
        }.items()
    },
}

# No cache keeps a response with these fields, so they have a test of their own.
UNCACHED = {"User.sessions", "User.tokens"}
CURRENT = "current"  # the device of the session that sends the requests

CONNECTED = ("User", "Tag", "Note", "Trash")  # what connections list: types, and the trash

# A connection shows the rows of its list that the viewer may see, and counts those alone.
CONNECTIONS = {
    *(f"{name}Connection.{field}" for name in CONNECTED
      for field in ("edges", "nodes", "pageInfo", "totalCount")),
    *(f"{name}Edge.{field}" for name in CONNECTED for field in ("node", "cursor")),
    *(f"PageInfo.{field}"
      for field in ("hasNextPage", "hasPreviousPage", "startCursor", "endCursor")),
    "NoteConnection.tagFacets", "NoteConnection.tagFacets(first)", "TagFacet.tag",
    "TagFacet.count", "NoteEdge.snippet",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A field of Query with arguments, and the rows that it leads to, visible or not."""

    arguments: Callable[[World], dict[str, Any]]
    what: Callable[[World, Viewer], Any]


def nothing(_world: World) -> dict[str, Any]:
    return {}


def by_id(_world: World | None = None) -> dict[str, Any]:
    return {"orderBy": [{"field": "ID"}]}


QUERIES = {
    "Query.users": [Call(nothing, lambda *_: list(User.objects.all()))],
    "Query.tags": [Call(nothing, lambda *_: list(Tag.objects.all()))],
    "Query.notes": [
        Call(nothing, lambda *_: list(Note.objects.all())),
        Call(lambda w: {"authorId": str(w.ann.pk)}, lambda w, _: [w.public, w.private]),
        Call(lambda w: {"authorId": str(w.bob.pk)}, lambda w, _: [w.other]),
        Call(lambda _: {"tag": "blue"}, lambda w, _: [w.private, w.other]),
        Call(lambda w: {"tag": "red", "authorId": str(w.bob.pk)}, lambda *_: []),
    ],
    "Query.usersConnection": [Call(by_id, lambda *_: list(User.objects.all()))],
    "Query.tagsConnection": [
        Call(by_id, lambda *_: list(Tag.objects.all())),
        Call(lambda _: {**by_id(), "filter": {"name": {"eq": "RED"}}}, lambda w, _: [w.red]),
    ],
    "Query.notesConnection": [
        Call(by_id, lambda *_: list(Note.objects.all())),
        Call(
            lambda w: {**by_id(), "filter": {"authorId": {"eq": str(w.ann.pk)}}},
            lambda w, _: [w.public, w.private],
        ),
        Call(
            lambda _: {**by_id(), "filter": {"not": {"isPublic": True}}},
            lambda *_: list(Note.objects.filter(is_public=False)),
        ),
        Call(
            lambda _: {**by_id(), "filter": {"tags": {"any": {"names": ["blue"]}}}},
            lambda w, _: [w.private, w.other],
        ),
        Call(
            lambda w: {**by_id(), "filter": {"search": f'"{w.private.title}"'}},
            lambda w, _: list(Note.objects.filter(title=w.private.title)),
        ),
    ],
    "Query.userNotes": [
        Call(lambda w: {"userId": str(w.ann.pk)}, lambda w, _: [w.public, w.private]),
        Call(lambda w: {"userId": str(w.bob.pk)}, lambda w, _: [w.other]),
        Call(lambda _: {"userId": str(ABSENT)}, lambda *_: []),
    ],
    "Query.user": [
        Call(lambda w: {"id": str(w.ann.pk)}, lambda w, _: w.ann),
        Call(lambda w: {"id": str(w.staff.pk)}, lambda w, _: w.staff),
        Call(lambda _: {"id": str(ABSENT)}, lambda *_: None),
    ],
    "Query.tag": [
        Call(lambda w: {"id": str(w.blue.pk)}, lambda w, _: w.blue),
        Call(lambda _: {"id": str(ABSENT)}, lambda *_: None),
    ],
    "Query.note": [
        Call(lambda w: {"id": str(w.public.pk)}, lambda w, _: w.public),
        Call(lambda w: {"id": str(w.private.pk)}, lambda w, _: w.private),
        Call(lambda w: {"id": str(w.other.pk)}, lambda w, _: w.other),
        Call(lambda _: {"id": str(ABSENT)}, lambda *_: None),
    ],
    "Query.me": [Call(nothing, lambda _, viewer: viewer.id and User.objects.get(pk=viewer.id))],
    "Query.node": [
        Call(lambda w: {"nodeId": make_node_id("Note", w.public.pk)}, lambda w, _: w.public),
        Call(lambda w: {"nodeId": make_node_id("Note", w.private.pk)}, lambda w, _: w.private),
        Call(lambda w: {"nodeId": make_node_id("User", w.bob.pk)}, lambda w, _: w.bob),
        Call(lambda w: {"nodeId": make_node_id("Tag", w.red.pk)}, lambda w, _: w.red),
        Call(lambda _: {"nodeId": make_node_id("Note", ABSENT)}, lambda *_: None),
        Call(lambda _: {"nodeId": "x"}, lambda *_: None),
    ],
    "Query.nodes": [
        Call(
            lambda w: {
                "nodeIds": [
                    make_node_id("Note", w.other.pk),
                    "x",
                    make_node_id("User", w.ann.pk),
                    make_node_id("Note", ABSENT),
                    make_node_id("Note", w.private.pk),
                ]
            },
            lambda w, _: [w.other, None, w.ann, None, w.private],
        )
    ],
    "Query.slowQuery": [Call(lambda _: {"delay": 0.0}, lambda *_: 0.0)],
}


# The fields of interfaces have the rules of the types.
INTERFACES = {"Node.nodeId"}

# What clients may sort and filter by: columns that the viewer sees.
INPUTS = MUTATION_INPUTS | {
    **{f"{name}Order": {"field", "direction"} for name in ("User", "Tag", "Note", "TrashedNote")},
    "IDFilter": {"eq", "in"},
    "StringFilter": {"eq", "in", "contains", "startsWith"},
    "DateTimeFilter": {"gt", "gte", "lt", "lte"},
    "TagSet": {"ids", "names"},
    "TagSetFilter": {"all", "any", "none"},
    "UserFilter": {"and", "or", "not", "id", "name", "createdAt"},
    "TagFilter": {"and", "or", "not", "id", "name"},
    "TrashedNoteFilter": {"and", "or", "not", "id"},
    "NoteFilter": {
        "and", "or", "not", "id", "authorId", "isPublic", "title", "createdAt", "updatedAt",
        "tags", "search", "searchPrefix",
    },
}  # fmt: skip

PAGE = {"first", "after"}
CONNECTION = {*PAGE, "last", "before", "orderBy", "filter"}

# The arguments of fields. None of them widens what a viewer sees.
ARGUMENTS = {
    "Query.users": PAGE,
    "Query.tags": PAGE,
    "Query.notes": {"authorId", "tag", *PAGE},
    "Query.userNotes": {"userId", *PAGE},
    "Query.user": {"id"},
    "Query.tag": {"id"},
    "Query.node": {"nodeId"},
    "Query.nodes": {"nodeIds"},
    "Query.note": {"id"},
    "Query.slowQuery": {"delay"},
    "Query.usersConnection": CONNECTION,
    "Query.tagsConnection": CONNECTION,
    "Query.notesConnection": CONNECTION,
    "User.notesConnection": CONNECTION,
    "User.trash": CONNECTION,
    "Tag.notesConnection": CONNECTION,
    "Note.tagsConnection": CONNECTION,
    "User.notes": PAGE,
    "Tag.notes": PAGE,
    **{name: {"input"} for name in MUTATIONS},
    **{name: {"input"} for name, each in ACCOUNT_MUTATIONS.items() if each.input is not None},
}

DECLARED = {
    *FIELDS, *QUERIES, *MUTATIONS, *ACCOUNT_MUTATIONS, *PAYLOADS, *INTERFACES, *CONNECTIONS,
    *(f"{type_name}.{name}" for type_name, names in INPUTS.items() for name in names),
    *(f"{field}({name})" for field, names in ARGUMENTS.items() for name in names),
}  # fmt: skip
