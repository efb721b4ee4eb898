"""Passwords: hashing within bounds, and the rules for a new one.

A hash of Argon2 takes about 40 ms of a processor and 46 MiB of memory, on purpose. So
``limit`` lets ``USERS_HASHING`` threads of a process hash at once. Others wait, half of the threads
altogether. Further requests are refused at once. So passwords never occupy all threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from pcf.concurrency import slot_released
from pcf.conf import thread_count
from pcf.errors import ServiceUnavailable
from pcf.execution.mutations import MutationRefused, is_storable, refusal
from pcf.timeouts import current_timeout
from users.models import User

MAX_PASSWORD = 1_000  # characters
MAX_WAIT = 5.0  # seconds for another thread to finish


class TooManyPasswords(ServiceUnavailable):
    """Too many requests need a password hashed at this moment."""

    headers = {"Retry-After": "1"}

    def __init__(self) -> None:
        super().__init__("Too many people log in at the moment; try again")


class HashingLimit:
    """The number of threads of a process that hash passwords, and that wait to do so."""

    def __init__(self, hashing: int, admitted: int) -> None:
        """``hashing`` threads hash at once; ``admitted`` threads hash or wait."""
        self._admitted = BoundedSemaphore(admitted)
        self._hashing = BoundedSemaphore(hashing)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hash within the block. Raises TooManyPasswords.

        Argon2 computes outside of the interpreter, so the thread lends its slot meanwhile.
        """
        if not self._admitted.acquire(blocking=False):
            raise TooManyPasswords
        try:
            with slot_released():
                if not self._hashing.acquire(timeout=_patience()):
                    raise TooManyPasswords
                try:
                    yield
                finally:
                    self._hashing.release()
        finally:
            self._admitted.release()


limit = HashingLimit(
    settings.USERS_HASHING, admitted=max(settings.USERS_HASHING, thread_count() // 2)
)


def _patience() -> float:
    """Return the seconds that a request may wait: half of what it has left at most."""
    timeout = current_timeout()
    return MAX_WAIT if timeout is None else max(0.0, min(MAX_WAIT, timeout.remaining() / 2))


def check_rules(password: str, user: User, field: str) -> None:
    """Raise MutationRefused for a new password that the settings' validators refuse.

    ``field`` is the field of the input.
    """
    if not password:
        raise refusal("REQUIRED", "The password is missing.", field)
    if len(password) > MAX_PASSWORD:
        raise refusal("TOO_LONG", f"A password has {MAX_PASSWORD} characters at most.", field)
    if not is_storable(password):
        message = "The password has a character that cannot be stored."
        raise refusal("INVALID", message, field)
    try:
        validate_password(password, user)
    except ValidationError as invalid:
        refused = [(field, "INVALID", message) for message in invalid.messages]
        raise MutationRefused(*refused) from invalid


def hashed(password: str) -> str:
    """Return the hash of a password. Raises TooManyPasswords."""
    with limit.acquire():
        return make_password(password)
