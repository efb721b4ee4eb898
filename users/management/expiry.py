"""The expiry of tokens, for the commands about tokens."""

from argparse import ArgumentParser
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.utils import timezone

from users.models import MAX_TOKEN_DAYS


def add_expiry_argument(parser: ArgumentParser, otherwise: str) -> None:
    """Add ``--expires-in``. ``otherwise`` is the help text about the default."""
    parser.add_argument(
        "--expires-in",
        type=int,
        metavar="DAYS",
        help=f"days until the token expires, 1 to {MAX_TOKEN_DAYS:,}; {otherwise}",
    )


def expiry(days: int | None) -> datetime | None:
    """Return the time after ``days``, and None for None.

    Raises CommandError for a number that is not 1 to MAX_TOKEN_DAYS.
    """
    if days is None:
        return None
    if not 1 <= days <= MAX_TOKEN_DAYS:
        message = f"--expires-in must be 1 to {MAX_TOKEN_DAYS:,} days, got {days}"
        raise CommandError(message)
    return timezone.now() + timedelta(days=days)


def until(expires_at: datetime | None) -> str:
    """Return the end of a token's validity as text for people."""
    return f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until revoked"
