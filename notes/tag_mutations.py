"""Mutations of tags. They stand with the notes, because they change the tags of notes."""

from collections.abc import Sequence
from typing import Any

import graphene
from django.db import IntegrityError, transaction
from graphql import GraphQLResolveInfo

from notes import tag_removal
from notes.models import NoteTag
from notes.tagging import MAX_TAGS, clean_names, tag_named
from pcf.database.deletion import delete_in_steps, run_in_time
from pcf.database.transactions import run_transaction
from pcf.execution.mutations import (
    mutation,
    mutation_field,
    payload_errors,
    refusal,
    require_login,
)
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer
from tags.models import Tag
from tags.names import MAX_NAME
from tags.policy import may_create_tags, may_edit_tags
from tags.schema import TagType
from users import audit

_NAME = f"The name, at most {MAX_NAME} characters, unique without regard to case."
_NO_OWNER = 0  # the id of no user: a tag belongs to nobody


class CreateTagInput(graphene.InputObjectType):
    """A new tag."""

    name = graphene.String(required=True, description=_NAME)


class RenameTagInput(graphene.InputObjectType):
    """A tag and its new name."""

    id = graphene.ID(required=True, description="The id of the tag.")
    name = graphene.String(required=True, description=_NAME)


class MergeTagsInput(graphene.InputObjectType):
    """Tags that become one."""

    ids = graphene.List(
        graphene.NonNull(graphene.ID),
        required=True,
        description=f"The ids of the tags that are gone afterwards, {MAX_TAGS} at most.",
    )
    into_id = graphene.ID(
        required=True, description="The id of the tag that stays, and gets the notes of the others."
    )


class DeleteTagInput(graphene.InputObjectType):
    """The tag to delete."""

    id = graphene.ID(required=True, description="The id of the tag.")


class TagPayload(graphene.ObjectType):
    """The tag after the change, or the tag that has the name already."""

    tag = graphene.Field(
        TagType,
        description="The tag after the change. After TAKEN it is the tag that has the name. After "
        "any other refusal it is null.",
    )
    user_errors = payload_errors()


class DeleteTagPayload(graphene.ObjectType):
    """The id of the tag that is gone, null when the deletion was refused."""

    deleted_id = graphene.ID(
        description="The id of the tag that is gone, null when the deletion was refused."
    )
    user_errors = payload_errors()


def _editable_tags(viewer: Viewer, **ids: list[Any]) -> dict[int, Tag]:
    """Return tags by primary key, locked until the transaction ends.

    ``ids`` holds ids by the name of the input field. Raises a refusal for a viewer who may not edit
    tags, and for an id without a tag.
    """
    require_login(viewer)
    if not may_edit_tags(viewer):
        raise refusal("FORBIDDEN", "Only staff may do this with a tag.")
    keys = {field: {parse_id(each) or 0 for each in given} for field, given in ids.items()}
    every = set().union(*keys.values())
    tags = Tag.objects.filter(pk__in=every).order_by("pk").select_for_update(of=("self",))
    found = {tag.pk: tag for tag in tags}
    for field, wanted in keys.items():
        if not wanted <= found.keys():
            raise refusal("NOT_FOUND", "There is no such tag.", field)
    return found


def _save(tag: Tag, name: str) -> None:
    """Give the tag a name and save it. Raises a refusal when another tag has the name."""
    (tag.name,) = clean_names([name], "name")
    try:
        with transaction.atomic():
            tag.save()
    except IntegrityError:
        message, other = "Another tag has this name.", tag_named(tag.name)
        raise refusal("TAKEN", message, "name", tag=other) from None


@mutation(TagPayload)
def create_tag(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Make a tag."""
    del info
    require_login(viewer)
    if not may_create_tags(viewer):
        raise refusal("FORBIDDEN", "You may not make new tags.")
    tag = Tag()
    _save(tag, values.name)
    return {"tag": tag}


@mutation(TagPayload)
def rename_tag(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Give a tag another name. For staff alone."""
    del info
    (tag,) = _editable_tags(viewer, id=[values.id]).values()
    before = tag.name
    _save(tag, values.name)
    audit.record(viewer, tag, _NO_OWNER, audit.CHANGE, f"renamed from {before}")
    return {"tag": tag}


@mutation(TagPayload, atomic=False)
def merge_tags(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Put one tag in the place of others, on all notes, and delete the others. For staff alone.

    With very many notes the code is UNFINISHED. The same mutation again goes on.
    """
    del info
    if len(values.ids) > MAX_TAGS:
        raise refusal("TOO_LONG", f"At most {MAX_TAGS} tags can be named at once.", "ids")
    tags = run_transaction(lambda: _editable_tags(viewer, intoId=[values.into_id], ids=values.ids))
    kept = tags.pop(parse_id(values.into_id) or 0)
    if tags:
        names = ", ".join(tag.name for tag in tags.values())

        def watch() -> None:
            audit.record(viewer, kept, _NO_OWNER, audit.CHANGE, f"merged with {names}")

        run_in_time(tag_removal.merge_in_steps(list(tags), kept.pk, watch))
        _check_finished(list(tags))
    return {"tag": kept}


@mutation(DeleteTagPayload, atomic=False)
def delete_tag(viewer: Viewer, info: GraphQLResolveInfo, values: Any) -> dict[str, Any]:
    """Delete a tag, and take it off all notes. For staff alone.

    With very many notes the code is UNFINISHED. The same mutation again goes on.
    """
    del info
    (tag,) = run_transaction(lambda: _editable_tags(viewer, id=[values.id])).values()
    key = tag.pk

    def watch(found: Sequence[Tag]) -> None:
        audit.record(viewer, found[0], _NO_OWNER, audit.DELETION, "deleted")

    run_in_time(delete_in_steps(Tag.objects.filter(pk=key), watch=watch))
    _check_finished([key])
    return {"deleted_id": key}


def _check_finished(keys: list[int]) -> None:
    """Raise a refusal while one of the tags is left."""
    if Tag.objects.filter(pk__in=keys).exists():
        left = NoteTag.objects.filter(tag__in=keys).count()
        message = f"The tag is still on {left:,} notes. Send the mutation again to go on."
        raise refusal("UNFINISHED", message)


class TagMutation(graphene.ObjectType):
    """Mutations of tags."""

    create_tag = mutation_field(TagPayload, CreateTagInput, create_tag)
    rename_tag = mutation_field(TagPayload, RenameTagInput, rename_tag)
    merge_tags = mutation_field(TagPayload, MergeTagsInput, merge_tags)
    delete_tag = mutation_field(DeleteTagPayload, DeleteTagInput, delete_tag)
