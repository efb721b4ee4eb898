"""The queries of the guide have the answers that stand below them."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notes.models import Note
from tags.models import Tag
from tests.conftest import make_user

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "read-from-a-front-end.md"
BLOCK = re.compile(r"```(graphql|json variables|json)\n(.*?)```", re.DOTALL)


@pytest.fixture
def _guide(world):
    """The notes of the guide, in the place of those of the tests."""
    Note.objects.all().delete()
    Tag.objects.all().delete()
    ana, bo = make_user("Ana"), make_user("Bo")
    food, travel = Tag.objects.create(name="food"), Tag.objects.create(name="travel")
    for day, author, title, content, *tags in (
        (1, bo, "Train to Porto", "The train from Lisbon.", travel),
        (2, ana, "Bread", "Flour, water, salt.", food),
        (3, ana, "Café in Lisbon", "The best one in Lisbon & around.", food, travel),
        (4, bo, "Packing list", "Shoes for Lisbon.", travel),
    ):
        note = Note.objects.create(
            author=author, title=title, content=content, is_public=True,
            created_at=datetime(2026, 1, day, tzinfo=UTC),
        )  # fmt: skip
        note.tags.set(tags)


def without_cursors(value):
    """Return an answer with each cursor replaced as in the guide."""
    if isinstance(value, dict):
        return {
            key: "…" if key in {"cursor", "endCursor"} and each else without_cursors(each)
            for key, each in value.items()
        }
    return [without_cursors(each) for each in value] if isinstance(value, list) else value


def cursors(value):
    """Yield the cursors at the end of the pages of an answer."""
    for key, each in value.items() if isinstance(value, dict) else ():
        if key == "endCursor":
            yield each
        yield from cursors(each)


@pytest.mark.usefixtures("_guide")
def test_the_guide(ask):
    query, variables, count = None, {}, 0
    for kind, text in BLOCK.findall(GUIDE.read_text()):
        if kind == "graphql":
            query, variables = text, {}
        elif kind == "json variables":
            variables = json.loads(text)
        else:
            data = ask(query, variables=variables).data
            assert without_cursors(data) == json.loads(text), query
            variables = {"after": next(cursors(data), None)}
            count += 1
    assert count == 7
