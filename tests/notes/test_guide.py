"""The mutations of the guide have the answers that stand below them."""

import json
import re
from pathlib import Path
from typing import Any

from notes.models import Note
from tags.models import Tag
from tests.conftest import Ask, World, make_user, token_for

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "write-from-a-front-end.md"
BLOCK = re.compile(r"```(graphql|http|json variables|json)\n(.*?)```", re.DOTALL)
IDS = {"id", "deletedId"}


def without_ids(value: Any) -> Any:
    """Return an answer with each id replaced as in the guide."""
    if isinstance(value, dict):
        return {
            key: "…" if key in IDS and each else without_ids(each) for key, each in value.items()
        }
    return [without_ids(each) for each in value] if isinstance(value, list) else value


def test_the_guide(live_world: World, ask: Ask) -> None:
    Note.objects.all().delete()
    Tag.objects.all().delete()
    Tag.objects.create(name="travel")
    token = token_for(make_user("Ana"))
    query, variables, headers, next_headers, count = "", "{}", {}, {}, 0
    for kind, text in BLOCK.findall(GUIDE.read_text()):
        if kind == "http":
            name, _, value = text.strip().partition(": ")
            next_headers = {name: value}
        elif kind == "graphql":
            query, variables = text, "{}"
            headers, next_headers = next_headers, {}  # of this query alone
        elif kind == "json variables":
            newest = Note.objects.order_by("-pk").values_list("pk", flat=True).first()
            variables = text.replace("<id>", str(newest))
        else:
            data = ask(query, token, json.loads(variables), **headers).data
            assert without_ids(data) == json.loads(text), (query, variables)
            count += 1
    assert count == 12
    assert Note.objects.count() == 2
