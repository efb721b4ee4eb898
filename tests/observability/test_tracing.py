"""Traces: the spans of a request, without personal data, and none while traces are off."""

import json

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from pcf.conf.sections import ConfigError, TraceSettings
from pcf.observability.tracing import span, start_tracing, tracing
from pcf.server.application import TracingMiddleware
from tests.conftest import token_for
from tests.http.wsgi import environ_of
from tests.server.asgi import scope_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def switch():
    """``switch(share)`` switches traces on and returns the exporter with the spans."""

    def on(sampled):
        exporter = InMemorySpanExporter()
        start_tracing(TraceSettings(enabled=True, sampled=sampled), exporter)
        return exporter

    yield on
    tracing.use(None)


@pytest.fixture
def send(service):
    """``send(query, token=None, traceparent=None, path="/graphql")`` returns the body."""
    service.application, untraced = TracingMiddleware(service.application), service.application

    def post(query, token=None, traceparent=None, path="/graphql"):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if traceparent:
            headers["traceparent"] = traceparent
        body = json.dumps({"query": query, "variables": {"secret": "a secret value"}}).encode()
        return service.ask({**scope_of(environ_of(body, **headers)), "path": path}, body).body

    yield post
    service.application = untraced


def names(exporter):
    return [each.name for each in exporter.get_finished_spans()]


def test_a_request_is_a_tree_of_spans(live_world, send, switch):
    exporter = switch(1.0)
    answer = send("{ users { id notes { title } } }", traceparent=PARENT)
    assert b"public of ann" in answer
    spans = exporter.get_finished_spans()
    by_id = {each.context.span_id: each for each in spans}

    def parent(each):
        return by_id[each.parent.span_id].name

    (http,) = [each for each in spans if each.kind is SpanKind.SERVER]
    assert http.name == "POST /graphql"
    assert dict(http.attributes) == {
        "http.request.method": "POST",
        "http.route": "/graphql",
        "http.response.status_code": 200,
    }
    assert format(http.parent.span_id, "016x") == "b7ad6b7169203331"
    assert {format(each.context.trace_id, "032x") for each in spans} == {PARENT.split("-")[1]}
    for name in ("document", "cache", "execution"):
        (found,) = [each for each in spans if each.name == name]
        assert parent(found) == "POST /graphql"
    assert {parent(each) for each in spans if each.name == "level"} == {"execution"}
    assert len([each for each in spans if each.name == "level"]) > 1
    loaders = [each for each in spans if each.name.startswith("loader ")]
    (loader,) = [each for each in loaders if each.attributes["keys"] == 3]
    statements = [each for each in spans if each.name == "SQL"]
    assert loader.name in {parent(each) for each in statements}
    assert {parent(each) for each in spans if each.name == "Redis"} >= {"cache"}


def test_spans_hold_no_personal_data(live_world, send, switch):
    exporter = switch(1.0)
    token = token_for(live_world.ann)
    send(f'{{ me {{ email }} note(id: "{live_world.private.pk}") {{ title }} }}', token)
    send("{ me { email } }", "not a token", path=f"/somewhere/{token}")
    text = " ".join(each.to_json() for each in exporter.get_finished_spans())
    assert '"SQL"' in text
    for secret in (token, "a secret value", "ann@", "private of ann", "not a token", "email }"):
        assert secret not in text


def test_only_sampled_requests_are_exported(live_world, send, switch):
    exporter = switch(0.0)
    send("{ me { id } }")
    assert names(exporter) == []
    send("{ me { id } }", traceparent=PARENT)  # the client samples it
    assert "POST /graphql" in names(exporter)


def test_an_invalid_traceparent_is_ignored(live_world, send, switch):
    exporter = switch(1.0)
    send("{ me { id } }", traceparent="made up")
    http = exporter.get_finished_spans()[-1]
    assert (http.name, http.parent) == ("POST /graphql", None)


def test_there_are_no_spans_while_traces_are_off(send):
    assert tracing.tracer is None
    assert span("a") is span("b", keys=1)
    assert b"data" in send("{ me { id } }", traceparent=PARENT)


def test_a_share_above_one_is_refused():
    with pytest.raises(ConfigError, match="sampled"):
        TraceSettings(sampled=1.5)
