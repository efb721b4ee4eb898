"""The command ``warm_cache``."""

import json

import pytest
from django.core.management import CommandError, call_command

from notes.models import Note
from tests.conftest import token_for
from users.models import ApiToken

TAGS = "{ tags { name } }"


def run(capsys, *arguments):
    call_command(*arguments)
    return capsys.readouterr().out


def test_warm_cache_sends_queries_as_the_viewers(live_world, ask, capsys, tmp_path):
    token = token_for(live_world.ann)
    scope = ApiToken.objects.get().scope
    ann, by_id = live_world.ann.pk, "query N($id: ID!) { note(id: $id) { title } }"
    private = {"query": by_id, "variables": {"id": str(live_world.private.pk)}}
    file = tmp_path / "warm.json"
    file.write_text(json.dumps([{"query": TAGS}, {**private, "viewers": [ann, "anonymous"]}]))
    assert run(capsys, "warm_cache", str(file)).splitlines() == [
        "1 for anonymous: pcf; fwd=miss; stored",
        f"2 for {ann}.{scope}: pcf; fwd=miss; stored",
        "2 for anonymous: pcf; fwd=miss; stored",
    ]
    warm = ask(by_id, token, private["variables"])
    assert warm.cache_status == "pcf; hit"
    assert warm.data == {"note": {"title": "private of ann"}}
    assert ask(by_id, None, private["variables"]).data == {"note": None}


@pytest.mark.parametrize(
    "document",
    [
        'mutation { createNote(input: {title: "x"}) { note { id } } }',
        'query Q { tags { name } } mutation M { createNote(input: {title: "x"}) { note { id } } }',
    ],
)
def test_warm_cache_executes_no_mutation(live_world, capsys, tmp_path, document):
    before = Note.objects.count()
    entry = {"query": document, "operationName": "M" if "query" in document else None}
    file = tmp_path / "warm.json"
    file.write_text(json.dumps([{**entry, "viewers": [live_world.ann.pk]}, {"query": TAGS}]))
    token_for(live_world.ann)
    with pytest.raises(CommandError, match="1 could not be answered"):
        call_command("warm_cache", str(file))
    refused, answered = capsys.readouterr().out.splitlines()
    assert refused.endswith(": the operation is no query; warm_cache executes queries only")
    assert answered == "2 for anonymous: pcf; fwd=miss; stored"
    assert Note.objects.count() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list of objects"),
        ('[{"query": 1}]', "'query' must be"),
        ('[{"query": "{ me { id } }", "viewers": ["x"]}]', "viewers of 1"),
        ('[{"query": "{ nope }"}]', "1 could not be answered"),
        ('[{"query": "{ me { id } }", "viewers": [999999999]}]', "1 could not be answered"),
        ("[", "warm.json"),
    ],
)
def test_warm_cache_reports_errors_in_the_file(live_world, tmp_path, content, message):
    file = tmp_path / "warm.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=message):
        call_command("warm_cache", str(file))
