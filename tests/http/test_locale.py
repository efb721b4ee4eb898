"""The language and the time zone of a request are part of the key of its response."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import graphene
import pytest
from django.urls import path
from django.utils import timezone, translation

from pcf.execution.cache_hints import CacheHint, cache_hints
from pcf.http.service import make_service
from pcf.http.views import graphql_view
from tests.http.wsgi import environ_of

LOCALE_MIDDLEWARE = "django.middleware.locale.LocaleMiddleware"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MONDAY = "{ monday }"
ENGLISH, GERMAN = {"monday": "Monday"}, {"monday": "Montag"}


@cache_hints(shared=CacheHint(shared=True), public=CacheHint(public=True, max_age=60))
class Query(graphene.ObjectType):
    monday = graphene.String()
    shared = graphene.String()
    public = graphene.String()
    switched = graphene.String()
    hour = graphene.Int()

    @staticmethod
    def resolve_monday(_root, _info):
        return translation.gettext("Monday")

    resolve_shared = resolve_public = resolve_monday

    @staticmethod
    def resolve_switched(_root, _info):
        translation.activate("de")
        return translation.gettext("Monday")

    @staticmethod
    def resolve_hour(_root, _info):
        return timezone.localtime(NOON).hour


@cache
def service():
    return make_service(graphene.Schema(query=Query))


urlpatterns = [path("graphql", graphql_view(service))]


def zone_middleware(get_response):
    """Activate the zone that a header names, for the request."""

    def through(request):
        with timezone.override(ZoneInfo(request.headers.get("X-Zone", "UTC"))):
            return get_response(request)

    return through


@pytest.fixture(autouse=True)
def _project(settings, monkeypatch):
    """A project of another schema, in English and German."""
    monkeypatch.setattr(translation, "_trans", type(translation._trans)())  # reads USE_I18N once
    settings.ROOT_URLCONF = "tests.http.test_locale"
    settings.USE_I18N = True
    settings.LANGUAGE_CODE = "en"
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    yield
    translation.deactivate()


@pytest.fixture
def translated(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOCALE_MIDDLEWARE]


@pytest.mark.parametrize("query", [MONDAY, "{ monday: shared }", "{ monday: public }"])
@pytest.mark.parametrize(
    "german",
    [{"Accept-Language": "de"}, {"Cookie": "django_language=de", "Accept-Language": "en"}],
)
def test_a_reader_gets_their_own_language(db, translated, ask, query, german):
    for _ in range(2):
        assert ask(query, **german).data == GERMAN
        assert ask(query, **{"Accept-Language": "en"}).data == ENGLISH
        assert ask(query).data == ENGLISH
    hit = ask(query, **german)
    assert hit.cache_status == "pcf; hit"
    assert hit.headers["Content-Language"] == "de"
    varies = {name.strip().lower() for name in hit.headers["Vary"].split(",")}
    assert {"accept-language", "cookie", "accept"} <= varies


def test_the_server_gives_each_reader_their_own_language(db, translated, serving):
    server = serving(make_service=service)
    body = json.dumps({"query": MONDAY}).encode()
    for status in ("pcf; fwd=miss; stored", "pcf; hit", "pcf; hit"):
        for language, expected in (("de", GERMAN), ("en", ENGLISH)):
            reply = server.call(environ_of(body, accept_language=language))
            assert json.loads(reply.body)["data"] == expected
            assert reply.headers["Cache-Status"] == status
            got = server.call(environ_of(None, "query={monday}", accept_language=language))
            assert json.loads(got.body)["data"] == expected


def test_a_language_that_a_resolver_activates_stays_in_its_request(db, serving):
    server = serving(make_service=service)
    for query, expected in (("{ switched }", {"switched": "Montag"}), (MONDAY, ENGLISH)) * 2:
        reply = server.call(environ_of(json.dumps({"query": query}).encode()))
        assert json.loads(reply.body)["data"] == expected


def test_a_language_that_a_resolver_activates_stays_in_its_part_of_a_batch(
    db, translated, client, settings
):
    requests = replace(settings.PCF.requests, max_batch=3)
    settings.PCF = replace(settings.PCF, requests=requests)
    batch = json.dumps([{"query": "{ switched }"}, {"query": MONDAY}])
    for _ in range(2):
        answer = client.post("/graphql", batch, content_type="application/json")
        assert [part["data"] for part in answer.json()] == [{"switched": "Montag"}, ENGLISH]


def test_a_language_that_a_resolver_activates_is_not_that_of_the_response(db, translated, ask):
    answer = ask("{ switched }")
    assert answer.data == {"switched": "Montag"}
    assert answer.headers["Content-Language"] == "en"


def test_a_time_zone_that_middleware_activates_is_part_of_the_key(db, settings, ask):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.http.test_locale.zone_middleware"]
    for _ in range(2):
        for zone, hour in (("UTC", 12), ("Europe/Berlin", 14), ("Asia/Tokyo", 21)):
            assert ask("{ hour }", **{"X-Zone": zone}).data == {"hour": hour}


def test_without_another_locale_the_key_is_the_servers(db, translated, ask, client, settings):
    ask(MONDAY)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != LOCALE_MIDDLEWARE]
    body = json.dumps({"query": MONDAY})
    answer = client.post("/graphql", body, content_type="application/json")
    assert (answer["Cache-Status"], answer.json()["data"]) == ("pcf; hit", ENGLISH)
    assert "Content-Language" not in answer
    assert "cookie" not in answer["Vary"].lower()


def test_the_settings_locale_is_part_of_the_key(db, settings, ask):
    assert ask(MONDAY).data == ENGLISH
    service.cache_clear()  # another process, for example during a deployment
    settings.LANGUAGE_CODE = "de"
    assert ask(MONDAY).data == GERMAN
    service.cache_clear()
