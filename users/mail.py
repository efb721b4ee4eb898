"""Mails of the accounts: their texts, and a queue that keeps the answer from waiting for them.

A request does not wait for a mail, so its duration does not tell whether one was sent. One thread
of each process makes and sends the mails in order; ``EMAIL_TIMEOUT`` bounds each one. The queue is
short: a mail beyond it is dropped and logged. A process that ends in order sends its queue first.
``USERS_MAILS`` bounds the mails to one address, so that nobody is flooded through this service.
"""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string

from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.cache.response_cache import TokenBucket
from pcf.http.rate_limits import take_tokens

MAX_QUEUED = 100
_PERIOD = 3_600  # seconds in which USERS_MAILS mails may go to one address

logger = logging.getLogger("pcf.mail")


class MailQueue:
    """The mails that a process has to send."""

    def __init__(self) -> None:
        self._free = BoundedSemaphore(MAX_QUEUED)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pcf-mail")
        self._last: Future[None] | None = None

    def put(self, deliver: Callable[[], None]) -> None:
        """Call ``deliver`` soon; drop it when too many others wait."""
        if not self._free.acquire(blocking=False):
            logger.error("a mail was dropped, because %d others wait", MAX_QUEUED)
            return
        self._last = self._thread.submit(self._run, deliver)

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until the mails that wait now are sent. Raises TimeoutError after ``seconds``."""
        if self._last is not None:
            self._last.result(seconds)

    def _run(self, deliver: Callable[[], None]) -> None:
        try:
            deliver()
        except Exception:
            logger.exception("a mail could not be sent")
        finally:
            self._free.release()


queue = MailQueue()


def send(template: str, address: str, **context: Any) -> None:
    """Send the mail of ``users/mail/TEMPLATE.txt`` after the COMMIT.

    The first line of the template is the subject.
    """
    transaction.on_commit(partial(queue.put, partial(_deliver, template, address, context)))


def _deliver(template: str, address: str, context: dict[str, Any]) -> None:
    if not _may_send(address):
        logger.warning("a mail was not sent: too many have gone to its address")
        return
    values = {**context, "site": settings.USERS_SITE}
    subject, _, body = render_to_string(f"users/mail/{template}.txt", values).partition("\n")
    EmailMessage(subject.strip(), body.lstrip("\n"), to=[address]).send()


def _may_send(address: str) -> bool:
    """Return whether the address has not had too many mails."""
    key = hashlib.blake2b(address.lower().encode(), digest_size=16).hexdigest()
    bucket = TokenBucket(settings.USERS_MAILS, settings.USERS_MAILS / _PERIOD)
    with suppress(CacheUnavailable):  # the cost of each request bounds the mails even so
        return take_tokens(redis_gateway(), f"mail:{key}", bucket, 1) == 0
    return True
