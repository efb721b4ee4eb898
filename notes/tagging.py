"""The tags that an input names: by id, by name, or both."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection

from pcf.execution.mutations import MutationRefused, refusal
from pcf.execution.paging import parse_id
from pcf.viewer import Viewer
from tags.models import Tag
from tags.names import MAX_NAME, normalized, validate_name
from tags.policy import may_create_tags

MAX_TAGS = 100  # tags in one input
_ATTEMPTS = 3  # another transaction may delete a tag between two statements

_BY_NAME = """
SELECT wanted.name, t.id
FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (name, position)
LEFT JOIN tags_tag t ON pcf_lower(t.name) = pcf_lower(wanted.name)
ORDER BY wanted.position
"""


def names_tags(values: Any) -> bool:
    """Return whether an input says which tags it means; null stands for none of them."""
    return "tag_ids" in values or "tag_names" in values


def chosen_tags(viewer: Viewer, values: Any, *, create: bool = True) -> list[Tag]:
    """Return the tags that the input names in ``tagIds`` and ``tagNames``.

    With ``create``, a tag whose name does not exist is made; otherwise the name stands for no tag.
    Raises a refusal for an id without a tag, for a wrong name, and for too many tags.
    """
    ids, names = values.get("tag_ids") or [], values.get("tag_names") or []
    if len(ids) + len(names) > MAX_TAGS:
        field = "tagIds" if len(ids) > MAX_TAGS or not names else "tagNames"
        raise refusal("TOO_LONG", f"At most {MAX_TAGS} tags can be named at once.", field)
    keys = {parse_id(tag_id) or 0 for tag_id in ids}
    wanted = clean_names(names, "tagNames")
    named = set(_made(viewer, wanted) if create else _found(wanted).values()) - {None}
    tags = list(Tag.objects.filter(pk__in=keys | named).order_by("pk")) if keys or named else []
    if not keys <= {tag.pk for tag in tags}:
        raise refusal("NOT_FOUND", "One of the tags does not exist.", "tagIds")
    return tags


def clean_names(names: Sequence[str], field: str) -> list[str]:
    """Return the names as they are stored. Raises a refusal with an error for each wrong one."""
    errors: list[tuple[str | None, str, str]] = []
    cleaned = list(map(normalized, names))
    for name in cleaned:
        if not name:
            errors.append((field, "REQUIRED", "A tag must have a name."))
        elif len(name) > MAX_NAME:
            errors.append((field, "TOO_LONG", f"A name may have {MAX_NAME} characters."))
        else:
            try:
                validate_name(name)
            except ValidationError as error:
                errors.append((field, "INVALID", error.messages[0]))
    if errors:
        raise MutationRefused(*errors)
    return cleaned


def tag_named(name: str) -> Tag | None:
    """Return the tag with this name, without regard to case."""
    return Tag.objects.filter(pk=_found([name])[name] or 0).first()


def _found(names: Sequence[str]) -> dict[str, int | None]:
    """Return the primary key of the tag with each name, None for a name without a tag."""
    if not names:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_BY_NAME, [list(names)])
        return dict(cursor.fetchall())


def _made(viewer: Viewer, names: Sequence[str]) -> list[int | None]:
    """Return the primary keys of the tags with these names; make those that do not exist."""
    for _ in range(_ATTEMPTS):
        found = _found(names)
        missing = [name for name, key in found.items() if key is None]
        if not missing:
            return list(found.values())
        if not may_create_tags(viewer):
            raise refusal("FORBIDDEN", "You may not make new tags.", "tagNames")
        Tag.objects.bulk_create([Tag(name=name) for name in missing], ignore_conflicts=True)
    raise refusal("NOT_FOUND", "One of the tags does not exist any more.", "tagNames")
