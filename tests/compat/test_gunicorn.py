"""Contracts with gunicorn 27: what ``pcf._compat.gunicorn`` uses beyond the documentation."""

import asyncio
import inspect
import os
import sys
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from time import monotonic, sleep

import pytest
from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.workers.gasgi import ASGIWorker

from pcf._compat.gunicorn import BaseWorker, answer_head

CHANGED = "gunicorn changed its ASGI worker"


@pytest.fixture
def make():
    """``make(name=value, ...)`` returns a worker with these settings of gunicorn."""
    with ExitStack() as stack:

        def begin(**given):
            config = Config()
            for name, value in given.items():
                config.set(name, value)
            worker = BaseWorker(1, os.getppid(), [], None, 30, config, glogging.Logger(config))
            stack.callback(worker.tmp.close)
            return worker

        yield begin


def test_gunicorn_makes_the_loop_before_init_signals_and_binds_nothing_to_it(make):
    worker = make()
    worker._setup_event_loop()
    before = worker.loop
    assert isinstance(before, asyncio.AbstractEventLoop), CHANGED
    loop = asyncio.new_event_loop()
    try:
        worker.replace_loop(loop)
        assert before.is_closed()
        assert worker.loop is loop
        for name in ("_serve", "_cleanup", "init_signals"):
            assert "self.loop" in inspect.getsource(getattr(ASGIWorker, name)), CHANGED
    finally:
        loop.close()
        asyncio.set_event_loop(None)


def test_gunicorn_serves_until_alive_is_false_and_makes_its_servers_by_create_server(make):
    worker, made = make(asgi_lifespan="off"), []

    class Server:
        closed = 0

        def close(self):
            self.closed += 1

        async def wait_closed(self):
            pass

    class Loop(asyncio.SelectorEventLoop):
        async def create_server(self, protocol_factory, *arguments, **options):
            assert callable(protocol_factory), CHANGED
            assert not arguments, CHANGED
            assert "backlog" not in options, CHANGED
            made.append(Server())
            return made[-1]

    class Socket:
        sock = None

        def close(self):
            pass

    worker.loop, worker.sockets, worker.asgi = Loop(), [Socket()], None
    worker.loop.call_soon(worker.stop)
    worker.run()  # returns, because ``stop`` makes alive false
    assert worker.servers == made != [], CHANGED
    closed = made[0].closed
    worker.stop_accepting()
    assert made[0].closed == closed + 1
    assert worker.loop.is_closed(), CHANGED


def test_gunicorn_calls_handle_exit_signal_on_the_loop_at_sigterm():
    source = inspect.getsource(ASGIWorker.init_signals)
    assert "add_signal_handler(signal.SIGTERM, self.handle_exit_signal)" in source, CHANGED


def test_gunicorn_counts_requests_in_nr_and_ends_the_worker_at_max_requests(make):
    from gunicorn.asgi import protocol

    worker = make(max_requests=7, max_requests_jitter=0)
    assert (worker.nr, worker.take_max_requests(), worker.max_requests) == (0, 7, sys.maxsize)
    source = inspect.getsource(protocol)
    assert "self.worker.nr += 1" in source, CHANGED
    assert "self.worker.nr >= self.worker.max_requests" in source, CHANGED


@pytest.mark.parametrize(
    ("status", "line"), [(200, b"200 OK"), (304, b"304 Not Modified"), (294, b"294 Unknown")]
)
def test_gunicorn_writes_the_status_line_the_server_and_the_date(status, line):
    first, server, date, end = answer_head(status).split(b"\r\n")
    assert first == b"HTTP/1.1 " + line, CHANGED
    assert (server, end) == (b"Server: gunicorn/asgi", b"")
    assert parsedate_to_datetime(date.removeprefix(b"Date: ").decode()), CHANGED


def test_the_date_of_an_answer_moves_on():
    first, end = answer_head(200), monotonic() + 30
    while answer_head(200) == first:
        assert monotonic() < end
        sleep(0.05)


def test_gunicorn_reads_the_scheme_from_these_headers(make):
    names = ("x-forwarded-proto", "x-forwarded-protocol", "x-forwarded-ssl")
    assert make().scheme_headers == names, CHANGED
    assert make(secure_scheme_headers={"X-Tls": "1"}).scheme_headers == ("x-tls",)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, False),
        ({"limit_request_line": 0, "limit_request_field_size": 0}, False),
        ({"accesslog": "-"}, True),
        ({"pre_request": lambda _worker, _request: None}, True),
        ({"post_request": lambda _w, _q, _e, _r: None}, True),
        ({"proxy_protocol": True}, True),
        ({"limit_request_line": 500}, True),
        ({"limit_request_field_size": 500}, True),
        ({"limit_request_fields": 20}, True),
    ],
)
def test_settings_under_which_gunicorn_needs_every_request(make, given, needed):
    assert make(**given).needs_every_request(line_bytes=4_094, fields=64) is needed
