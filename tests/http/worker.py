"""A worker for tests: its requests are handled in the test's own thread."""

import os
import socket
from contextlib import ExitStack, contextmanager

from gunicorn import glogging
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from pcf.http.watchdog import Watchdog
from pcf.http.worker import Settings, Worker

HEAD = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@contextmanager
def serving():
    """``serve(application)``, which returns a worker, its connection and the client's end of it."""
    with ExitStack() as stack:

        def make(application, **given):
            config = Config()
            for name, value in {"keepalive": 75, "threads": 2, **given}.items():
                config.set(name, value)
            worker = Worker(1, os.getppid(), [], application, 30, config, glogging.Logger(config))
            stack.callback(worker.tmp.close)
            for handler in worker.log.access_log.handlers:
                stack.callback(handler.close)
            worker.cfg = Settings(config)
            worker.wsgi, worker.alive = application, True
            worker.watchdog = Watchdog()
            worker.prepare()
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.settimeout(10)
            theirs, address = listener.accept()
            stack.enter_context(theirs)
            conn = TConn(worker.cfg, theirs, address, listener.getsockname())
            stack.callback(lambda: conn.sock.close())
            return worker, conn, client

        yield make


def echo(environ, start):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start(
        "200 OK",
        [("Content-Length", str(len(body))), ("X-Kind", type(environ["wsgi.input"]).__name__)],
    )
    return [body]
