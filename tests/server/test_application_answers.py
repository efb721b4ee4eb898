"""Answers from threads: deadlines, request ids, Django's pages, streams and the lifespan."""

import asyncio
import json
from dataclasses import replace
from threading import Event

import pytest
from django.core import signals
from django.http import HttpResponse, StreamingHttpResponse

from pcf.conf.sections import RequestSettings
from pcf.observability.logs import request_id
from pcf.server import application as applications
from pcf.server.threads import Overloaded
from tests.http.wsgi import environ_of
from tests.server.asgi import PATIENCE, Exchange, scope_of

TAGS = b'{"query": "{ tags { id name } }"}'


def page(path, method="GET", **headers):
    return {**scope_of(environ_of(None, **headers)), "path": path, "method": method}


@pytest.fixture
def answering(service, django_handler, monkeypatch):
    """``answering(view)`` makes Django answer with ``view(request)``."""
    return lambda view: monkeypatch.setattr(django_handler, "get_response", view)


# --- the deadline


@pytest.mark.parametrize("path", ["/graphql", "/admin/"])
def test_a_client_gets_its_answer_at_the_deadline_while_a_thread_computes(
    service, monkeypatch, caplog, path
):
    begun, free, finished = Event(), Event(), Event()

    def compute(*_):
        begun.set()
        assert free.wait(PATIENCE)
        finished.set()

    application = service.application
    with monkeypatch.context() as patched:
        patched.setattr(application._endpoint, "_answer", compute)
        if path != "/graphql":
            patched.setattr(application._django_handler, "answer", compute)
        scope = scope_of(environ_of(TAGS, x_request_timeout="0.3", origin="https://x.org"))
        reply = service.ask({**scope, "path": path}, TAGS)
    assert begun.is_set()
    assert not finished.is_set()
    assert reply.status == "504 Gateway Timeout"
    (error,) = json.loads(reply.body)["errors"]
    assert error["extensions"] == {"code": "TIMEOUT", "layer": "client", "limit": 0.3}
    assert reply.headers["X-Request-ID"] == "same"
    # The log shows no stack when the client chose the deadline; test_threads shows other cases.
    assert [each for each in caplog.records if "busy past its" in each.getMessage()] == []
    free.set()
    assert service.ask(scope_of(environ_of(TAGS)), TAGS).status == "200 OK"


def test_a_threads_log_lines_have_the_request_id(service, monkeypatch):
    seen = []
    handler = service.application._django_handler
    work = handler.answer
    monkeypatch.setattr(
        handler,
        "answer",
        lambda *a: (seen.append(request_id.get()), work(*a))[1],
    )
    service.ask(page("/nowhere"))
    assert seen == ["same"]


def test_a_web_page_can_read_a_refusal_of_the_event_loop(service, settings, monkeypatch):
    settings.PCF = replace(settings.PCF, requests=RequestSettings(cors_origins=("https://x.org",)))

    async def refuse(*_):
        raise Overloaded("too many")

    monkeypatch.setattr(service.application._process.threads, "run", refuse)
    reply = service.ask(scope_of(environ_of(TAGS, origin="https://x.org")), TAGS)
    assert reply.headers["Access-Control-Allow-Origin"] == "https://x.org"
    assert (reply.status, reply.headers["Retry-After"]) == ("503 Service Unavailable", "1")
    assert json.loads(reply.body)["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"


def test_a_full_queue_is_answered_with_503_and_retry_after(
    live_world, serving, settings, monkeypatch
):
    settings.PCF = replace(settings.PCF, server=replace(settings.PCF.server, max_queued=1))
    monkeypatch.setattr(applications, "thread_count", lambda: 1)
    service = serving()
    begun, free = Event(), Event()
    endpoint = service.application._endpoint
    work = endpoint._answer

    def slow(*arguments):
        begun.set()
        assert free.wait(PATIENCE)
        return work(*arguments)

    monkeypatch.setattr(endpoint, "_answer", slow)

    async def ask_three_times():
        exchanges = [Exchange(scope_of(environ_of(TAGS)), TAGS) for _ in range(3)]
        first, second, third = (each.run(service.application) for each in exchanges)
        running = [asyncio.ensure_future(first)]
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        running.append(asyncio.ensure_future(second))
        third_body = exchanges[2].receive

        async def receive():
            for _ in range(3):  # turns of the loop in which the second request joins the queue
                await asyncio.sleep(0)
            assert service.application._process.threads._pool.queued == 1
            return await third_body()

        exchanges[2].receive = receive
        await third
        free.set()
        await asyncio.gather(*running)
        return [each.reply for each in exchanges]

    first, second, third = service.run(ask_three_times())
    assert [first.status, second.status] == ["200 OK"] * 2
    assert (third.status, third.headers["Retry-After"]) == ("503 Service Unavailable", "1")


# --- ids


@pytest.mark.parametrize(
    "given",
    [
        "same", "known-1", "0123456789abcdef" * 4, "1-67891233-abcdef012345678912345678",
        "0e1a9f3c-5b7d-4c1e-9a2b-3c4d5e6f7a8b", "01JDQ4W3Y8Z6V5T2R1P0N9M8K7",
    ],
)  # fmt: skip
def test_common_ids_are_kept(service, given):
    scope = page("/nowhere")
    headers = [each for each in scope["headers"] if each[0] != b"x-request-id"]
    scope["headers"] = [*headers, (b"x-request-id", given.encode())]
    assert service.ask(scope, b"").headers["X-Request-ID"] == given


CREDENTIAL = "pcf_2hK9sQbX7uYw0aLmN3pRtVz5EoGdJiCfS8yTxB1kUqM"  # may be in no line of the log


@pytest.mark.parametrize("given", ["same", None, "evil id\x00", "x" * 17, "-", CREDENTIAL])
@pytest.mark.parametrize("asked", [TAGS, b"{", None])
def test_every_answer_has_one_request_id_and_it_is_the_clients_if_that_is_valid(
    service, given, asked
):
    scope = page("/nowhere") if asked is None else scope_of(environ_of(asked))
    scope["headers"] = [each for each in scope["headers"] if each[0] != b"x-request-id"]
    if given is not None:
        scope["headers"].append((b"x-request-id", given.encode()))
    ids = [service.ask(scope, asked or b"").headers["X-Request-ID"] for _ in range(2)]
    if given == "same":
        assert ids == ["same"] * 2
    else:
        assert len(set(ids)) == 2
        assert all(len(each) == 16 for each in ids)


# --- Django's pages


def test_a_page_of_django_has_its_cookies(service):
    reply = service.ask(page("/admin/login/"))
    assert reply.status == "200 OK"
    assert b"csrfmiddlewaretoken" in reply.body
    assert reply.headers["Set-Cookie"].startswith("csrftoken=")
    assert reply.headers["X-Request-ID"] == "same"
    assert service.ask(page("/nowhere")).status == "404 Not Found"


@pytest.mark.parametrize("path", ["/admin/login/", "/graphql", "/nowhere"])
def test_head_is_answered_as_get_without_a_body(service, path):
    of_get, of_head = (service.ask(page(path, method)) for method in ("GET", "HEAD"))
    assert of_get.body
    assert (of_head.status, of_head.body) == (of_get.status, b"")
    assert of_head.headers.keys() == of_get.headers.keys()
    if path != "/admin/login/":  # its tokens differ
        assert of_head.headers == of_get.headers


def test_headers_that_are_no_text_are_refused(service):
    scope = page("/admin/login/")
    scope["headers"].append((b"cookie", b"\xff\xfe"))
    scope["path"] = "/admin/login/"
    assert service.ask(scope).status in ("200 OK", "400 Bad Request")


def test_an_exception_in_a_page_is_masked(service, answering, caplog):
    def fail(_request):
        raise KeyError("secret")

    answering(fail)
    reply = service.ask(page("/admin/"))
    assert reply.status == "500 Internal Server Error"
    assert b"secret" not in reply.body
    assert "KeyError" in caplog.text


# --- streams


def test_each_chunk_of_a_stream_is_sent_before_the_next_one_is_produced(service, answering):
    told, sent = [], Event()

    def pieces():
        yield b"one"
        assert sent.wait(PATIENCE), "the first chunk is sent before the next one is produced"
        yield b""
        yield "two"

    def view(_request):
        response = StreamingHttpResponse(pieces(), status=201)
        response._resource_closers.append(lambda: told.append("closed"))
        return response

    answering(view)
    exchange = Exchange(page("/somewhere"))
    send = exchange.send

    async def sending(message):
        await send(message)
        if message.get("body") == b"one":
            sent.set()

    exchange.send = sending
    service.run_together(exchange)
    assert exchange.pieces == [b"one", b"two", b""]
    assert exchange.reply.status == "201 Created"
    assert told == ["closed"]


def test_a_stream_that_fails_is_not_ended_as_a_whole_answer(service, answering):
    """The server ends the connection when the application raises."""

    def pieces():
        yield b"one"
        raise ZeroDivisionError

    answering(lambda _: StreamingHttpResponse(pieces()))
    exchange = Exchange(page("/somewhere"))
    with pytest.raises(ZeroDivisionError):
        service.run_together(exchange)
    assert exchange.pieces == [b"one"]
    assert exchange.sent[-1]["more_body"]


def test_a_stream_ends_when_its_client_disconnects(service, answering):
    begun, ended = Event(), Event()

    def pieces():
        begun.set()
        try:
            while True:
                yield b"x" * 1_000
        finally:
            ended.set()

    answering(lambda _: StreamingHttpResponse(pieces()))

    async def go_away():
        exchange = Exchange(page("/somewhere"))
        running = asyncio.ensure_future(exchange.run(service.application))
        await exchange.answered.wait()
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return await asyncio.to_thread(ended.wait, PATIENCE)

    assert service.run(go_away())


def test_a_stream_ends_at_the_deadline(service, answering):
    free = Event()

    def pieces():
        yield b"one"
        assert free.wait(PATIENCE)

    answering(lambda _: StreamingHttpResponse(pieces()))
    exchange = Exchange(page("/somewhere", x_request_timeout="0.3"))
    try:
        with pytest.raises(Exception, match="client time limit"):
            service.run_together(exchange)
    finally:
        free.set()
    assert exchange.pieces == [b"one"]


@pytest.mark.parametrize("streaming", [False, True])
def test_closing_the_response_sends_request_finished(service, answering, streaming):
    told = []

    def listen(signal, **_):
        told.append(signal is signals.request_finished)

    answering(lambda _: StreamingHttpResponse([b"a"]) if streaming else HttpResponse(b"a"))
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(listen)
    try:
        assert service.ask(page("/somewhere")).body == b"a"
    finally:
        for signal in (signals.request_started, signals.request_finished):
            signal.disconnect(listen)
    assert told == [False, True]


# --- the lifespan


def test_the_process_state_begins_and_ends_with_the_lifespan(service, monkeypatch):
    watching = []
    monkeypatch.setattr(applications.outbox_relay, "start", lambda: watching.append("started"))
    monkeypatch.setattr(applications.outbox_relay, "stop", lambda: watching.append("stopped"))
    application, own = service.application, service.application._process
    own.close()
    application._process, sent = None, []
    watching.clear()

    async def live():
        incoming = asyncio.Queue()
        incoming.put_nowait({"type": "lifespan.startup"})

        async def send(message):
            sent.append(message["type"])
            if len(sent) == 1:
                assert watching == ["started"]
                assert application._process is not None
                incoming.put_nowait({"type": "lifespan.shutdown"})

        await application({"type": "lifespan"}, incoming.get, send)

    service.run(live())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (watching, application._process) == (["started", "stopped"], None)


def test_websockets_are_refused(service):
    sent = []

    async def send(message):
        sent.append(message)

    service.run(service.application({"type": "websocket", "path": "/graphql"}, None, send))
    assert sent == [{"type": "websocket.close"}]
