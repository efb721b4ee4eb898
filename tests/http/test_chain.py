"""Middleware that the engine does not know sees every GraphQL request."""

import json
import logging
import re

import pytest

from pcf.http.chain import KNOWN, unknown_middleware
from tests.http.chained import seen
from tests.http.wsgi import environ_of

OWN = "tests.http.chained.middleware"
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
    assert set(settings.MIDDLEWARE) <= KNOWN
    assert unknown_middleware() == []
    assert warned() == []


def test_a_middleware_that_is_not_known_sees_every_request(live_world, settings, serving, warned):
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


def test_it_can_refuse_and_change_requests(live_world, settings, serving):
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


def test_with_clients_that_are_refused_by_name_all_requests_are_looked_at(
    live_world, settings, serving, warned
):
    settings.DISALLOWED_USER_AGENTS = [re.compile("^Evil")]
    service = serving()
    (warning,) = warned()
    assert "django.middleware.common.CommonMiddleware" in warning
    for _ in range(2):
        assert service.call(environ_of(BODY)).status == "200 OK"
        assert service.call(environ_of(BODY, user_agent="Evil/1")).status == "403 Forbidden"


def test_without_it_the_name_of_a_client_does_not_matter(live_world, serving, warned):
    service = serving()
    assert warned() == []
    assert service.call(environ_of(BODY, user_agent="Evil/1")).status == "200 OK"
