"""Who may see and do what: the one table that the matrix test compares the service with.

Every field of every type of the schema stands here, every argument of one, every mutation, and
every field of an input. A new one makes ``test_matrix`` fail until it is said here who may see it.
The rules are written out once more and on purpose do not use the apps' ``policy`` modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from notes.models import Note
from pcf.viewer import Viewer
from tags.models import Tag
from tests.conftest import World
from users.models import User

Rule = Callable[[Viewer, Any], bool]  # may this viewer see it of this row?


def everyone(_viewer: Viewer, _row: Any) -> bool:
    return True


def oneself_and_staff(viewer: Viewer, user: User) -> bool:
    return viewer.is_staff or viewer.id == user.pk


def readers(viewer: Viewer, note: Note) -> bool:
    return viewer.is_staff or note.is_public or viewer.id == note.author_id


def writers(viewer: Viewer, note: Note) -> bool:
    return viewer.is_staff or (viewer.id is not None and viewer.id == note.author_id)


# Rows that a viewer may not see are missing from lists, and null where there could be one.
ROWS: dict[str, Rule] = {"User": everyone, "Tag": everyone, "Note": readers}


@dataclass(frozen=True)
class Field:
    """Who sees the field of a row; what they see: a value, or the rows behind an edge."""

    who: Rule
    what: Callable[[Any], Any]


FIELDS = {
    "User.id": Field(everyone, lambda user: str(user.pk)),
    "User.name": Field(everyone, lambda user: user.name),
    "User.createdAt": Field(everyone, lambda user: user.created_at.isoformat()),
    "User.email": Field(oneself_and_staff, lambda user: user.email),
    "User.notes": Field(everyone, lambda user: list(Note.objects.filter(author=user))),
    "Note.id": Field(readers, lambda note: str(note.pk)),
    "Note.title": Field(readers, lambda note: note.title),
    "Note.content": Field(readers, lambda note: note.content),
    "Note.isPublic": Field(readers, lambda note: note.is_public),
    "Note.createdAt": Field(readers, lambda note: note.created_at.isoformat()),
    "Note.updatedAt": Field(readers, lambda note: note.updated_at.isoformat()),
    "Note.author": Field(readers, lambda note: note.author),
    "Note.tags": Field(readers, lambda note: list(Tag.objects.filter(notes=note))),
    "Tag.id": Field(everyone, lambda tag: str(tag.pk)),
    "Tag.name": Field(everyone, lambda tag: tag.name),
    "Tag.notes": Field(everyone, lambda tag: list(Note.objects.filter(tags=tag))),
}

ABSENT = 999_999_999


@dataclass(frozen=True)
class Call:
    """A field of Query with arguments, and what there is behind it, whoever asks."""

    arguments: Callable[[World], dict[str, Any]]
    what: Callable[[World, Viewer], Any]


def nothing(_world: World) -> dict[str, Any]:
    return {}


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
    "Query.slowQuery": [Call(lambda _: {"delay": 0.0}, lambda *_: 0.0)],
}


@dataclass(frozen=True)
class Mutation:
    """A mutation: its input for a note or its id, and the field of its payload.

    ``of_note`` are for who may write the note; others are for everyone with a log-in, and about
    themselves.
    """

    input: Callable[[str], dict[str, Any]]
    result: str
    of_note: bool = True


MUTATIONS = {
    "Mutation.createNote": Mutation(
        lambda _: {"title": "new", "content": "text", "isPublic": True, "tagIds": []},
        "note",
        of_note=False,
    ),
    "Mutation.updateProfile": Mutation(
        lambda _: {"name": "New Name", "email": "new@example.org"}, "user", of_note=False
    ),
    "Mutation.updateNote": Mutation(
        lambda key: {
            "id": key, "title": "new", "content": "text", "isPublic": False, "tagIds": [],
        },
        "note",
    ),
    "Mutation.deleteNote": Mutation(lambda key: {"id": key}, "deletedId"),
    "Mutation.tagNote": Mutation(lambda key: {"noteId": key, "tagIds": []}, "note"),
    "Mutation.untagNote": Mutation(lambda key: {"noteId": key, "tagIds": []}, "note"),
}  # fmt: skip

# What only who ran the mutation gets, and only about what they asked for.
PAYLOADS = {
    "NotePayload.note",
    "NotePayload.userErrors",
    "DeleteNotePayload.deletedId",
    "DeleteNotePayload.userErrors",
    "UpdateProfilePayload.user",
    "UpdateProfilePayload.userErrors",
    "UserError.field",
    "UserError.code",
    "UserError.message",
}

# What who may run the mutation may set; nobody sets an author, a time or a flag of staff.
INPUTS = {
    "CreateNoteInput": {"title", "content", "isPublic", "tagIds"},
    "UpdateNoteInput": {"id", "title", "content", "isPublic", "tagIds"},
    "DeleteNoteInput": {"id"},
    "NoteTagsInput": {"noteId", "tagIds"},
    "UpdateProfileInput": {"name", "email"},
}

PAGE = {"first", "after"}

# What may be asked for in other words; none of them widens what a viewer sees.
ARGUMENTS = {
    "Query.users": PAGE,
    "Query.tags": PAGE,
    "Query.notes": {"authorId", "tag", *PAGE},
    "Query.userNotes": {"userId", *PAGE},
    "Query.user": {"id"},
    "Query.tag": {"id"},
    "Query.note": {"id"},
    "Query.slowQuery": {"delay"},
    "User.notes": PAGE,
    "Tag.notes": PAGE,
    **{name: {"input"} for name in MUTATIONS},
}

DECLARED = {
    *FIELDS, *QUERIES, *MUTATIONS, *PAYLOADS,
    *(f"{type_name}.{name}" for type_name, names in INPUTS.items() for name in names),
    *(f"{field}({name})" for field, names in ARGUMENTS.items() for name in names),
}  # fmt: skip
