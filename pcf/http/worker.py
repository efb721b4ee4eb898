"""gunicorn's threaded worker, with a watchdog over every thread that handles a request."""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from pcf.apps import config
from pcf.http.watchdog import Watchdog


class Worker(ThreadWorker):
    """As gunicorn's ``gthread``; no client can keep a thread beyond its request's time."""

    watchdog: Watchdog

    def init_process(self) -> None:
        """Start the watchdog in the worker's own process: threads do not survive a fork."""
        self.watchdog = Watchdog()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Handle a connection in this thread, ``timeouts.head`` seconds for the request's head."""
        with self.watchdog.over(lambda: conn.sock, config().timeouts.head):
            return super().handle(conn)
