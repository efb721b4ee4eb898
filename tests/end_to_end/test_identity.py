"""Viewers and tokens, over real sockets and two workers."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

NOTES = "{ notes(first: 100) { title isPublic author { id } } }"
RENAME = 'mutation { updateProfile(input: {name: "Chen Kim"}) { userErrors { code } } }'

ISSUE = """
import json
from users.models import ApiToken, User
user = User.objects.get(pk=1)
texts = {scope: ApiToken.issue(user, scope, scope=scope)[1] for scope in ("read", "write")}
print(json.dumps({"username": user.username, **texts}))
"""
REVOKE = """
from django.utils import timezone
from users.models import ApiToken
ApiToken.objects.filter(name="read").update(revoked_at=timezone.now())
"""


@pytest.fixture(scope="module")
def issued(server) -> dict[str, str]:
    """Return the name of a user, and the user's tokens of two scopes."""
    return json.loads(server.manage("shell", "-v", "0", "-c", ISSUE))


def statuses(server, token: str, query: str = NOTES) -> set[int]:
    """Return the statuses of many simultaneous requests, which both workers share."""
    with ThreadPoolExecutor(8) as pool:
        return {done[0] for done in pool.map(lambda _: server.post(query, token), range(24))}


def test_scope_revocation_and_rotation_count_in_every_worker_at_once(server, issued):
    read, write = issued["read"], issued["write"]
    assert (
        statuses(server, read) == statuses(server, write) == {200}
    )  # both workers remember the tokens
    assert statuses(server, read, RENAME) == {403}

    server.manage("shell", "-v", "0", "-c", REVOKE)
    assert statuses(server, read) == {401}

    rotation = ("rotate_token", issued["username"], "--name", "write", "--overlap", "0")
    new = server.manage(*rotation).strip()
    assert statuses(server, write) == {401}
    assert statuses(server, new) == {200}
