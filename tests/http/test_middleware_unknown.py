"""Unknown middleware sees every GraphQL request."""

import json
import logging
import re

import pytest

from pcf.http.middleware import KNOWN_MIDDLEWARE, unknown_middleware
from tests.http.recording_middleware import seen
from tests.http.wsgi import environ_of

OWN = "tests.http.recording_middleware.middleware"
BODY = b'{"query": "{ tags { name } }"}'


@pytest.fixture(autouse=True)
def _forget():
    seen.__init__()


@pytest.fixture
def warned(caplog):
    """The warnings of the engine about middleware."""
    caplog.set_level(logging.WARNING, "pcf.http")
    return lambda: [text for text in caplog.messages if "MIDDLEWARE" in text]


def test_the_projects_own_middleware_is_known(settings, warned):
    assert set(settings.MIDDLEWARE) <= KNOWN_MIDDLEWARE
    assert unknown_middleware() == []
    assert warned() == []


def test_an_unknown_middleware_sees_every_request(live_world, settings, serving, warned):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, OWN]
    service = serving()
    for cache_status in ("pcf; fwd=miss; stored", "pcf; hit", "pcf; hit"):
        reply = service.call(environ_of(BODY))
        assert reply.headers["Cache-Status"] == cache_status
        assert (reply.status, reply.headers["X-Own"]) == ("200 OK", "seen")
    assert service.call(environ_of(None, "query={tags{name}}")).headers["X-Own"] == "seen"
    assert seen.requests == [("POST", "/graphql", BODY)] * 3 + [("GET", "/graphql", b"")]
    (warning,) = warned()
    assert OWN in warning


def test_an_unknown_middleware_can_refuse_and_change_requests(live_world, settings, serving):
    settings.MIDDLEWARE = [OWN, *settings.MIDDLEWARE]
    service = serving()
    seen.refuse = True
    for _ in range(2):
        reply = service.call(environ_of(BODY))
        assert (reply.status, reply.body) == ("418 I'm a Teapot", b"not today")
    seen.refuse = False
    assert service.call(environ_of(BODY)).status == "200 OK"
    seen.replace = b'{"query": "{ users { name } }"}'
    reply = service.call(environ_of(BODY))
    assert json.loads(reply.body)["data"].keys() == {"users"}


def test_every_request_passes_all_middleware_when_user_agents_are_disallowed(
    live_world, settings, serving, warned
):
    settings.DISALLOWED_USER_AGENTS = [re.compile("^Evil")]
    service = serving()
    (warning,) = warned()
    assert "django.middleware.common.CommonMiddleware" in warning
    for _ in range(2):
        assert service.call(environ_of(BODY)).status == "200 OK"
        assert service.call(environ_of(BODY, user_agent="Evil/1")).status == "403 Forbidden"


def test_without_disallowed_user_agents_every_client_is_answered(live_world, serving, warned):
    service = serving()
    assert warned() == []
    assert service.call(environ_of(BODY, user_agent="Evil/1")).status == "200 OK"
