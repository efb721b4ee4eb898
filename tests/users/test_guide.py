"""The requests of the guide have the answers that stand below them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client

from tests.users.accounts import link, mails

pytestmark = pytest.mark.django_db(transaction=True)

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "accounts.md"
BLOCK = re.compile(r"```(graphql|json variables|json)\n(.*?)```", re.DOTALL)
WITHOUT_TOKEN = re.compile(
    r"signUp|confirmEmail|logIn|refreshAccess|requestPasswordReset|resetPassword"
)
HIDDEN = {
    "accessToken", "refreshToken", "expiresAt", "text", "id", "endedId", "revokedId",
}  # fmt: skip


def seen(value, known):
    """Return an answer with each secret and id replaced as in the guide; add them to ``known``."""
    if isinstance(value, dict):
        found = {}
        for key, each in value.items():
            if key in HIDDEN and each is not None:
                known[key] = each
                found[key] = "…"
            else:
                found[key] = seen(each, known)
        return found
    return [seen(each, known) for each in value] if isinstance(value, list) else value


def filled(values, known):
    """Return the variables with the newest secret or id in the place of each ``…``."""
    given = values.get("input", {})
    for key in [key for key, value in given.items() if value == "…"]:
        given[key] = link(mails()[-1]) if key == "token" else known[key]
    return values


def test_the_guide(settings):
    requests = replace(settings.PCF.requests, session_cookie="pcf_session")
    settings.PCF = replace(settings.PCF, requests=requests)
    query, variables, known, count = "", {}, {}, 0
    for kind, text in BLOCK.findall(GUIDE.read_text()):
        if kind == "graphql":
            query, variables = text, {}
        elif kind == "json variables":
            variables = filled(json.loads(text), known)
        else:
            headers = {}
            if not WITHOUT_TOKEN.search(query):
                headers["Authorization"] = f"Bearer {known['accessToken']}"
            content = {"query": query, "variables": variables}
            response = Client().post(
                "/graphql", content, content_type="application/json", headers=headers
            )
            assert seen(response.json()["data"], known) == json.loads(text), query
            count += 1
    assert count == 18
