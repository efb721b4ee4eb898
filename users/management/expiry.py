"""What the commands about tokens share: until when a token is valid."""

from argparse import ArgumentParser
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.utils import timezone

MAX_DAYS = 36_500  # a hundred years; who wants more leaves the limit out


def add_expiry_argument(parser: ArgumentParser, otherwise: str) -> None:
    """Add ``--expires-in``; ``otherwise`` says what happens without it."""
    parser.add_argument(
        "--expires-in",
        type=int,
        metavar="DAYS",
        help=f"days until it expires, 1 to {MAX_DAYS:,}; {otherwise}",
    )


def expiry(days: int | None) -> datetime | None:
    """The time in so many days, None for None.

    Raises CommandError for what is not 1 to MAX_DAYS.
    """
    if days is None:
        return None
    if not 1 <= days <= MAX_DAYS:
        message = f"--expires-in must be 1 to {MAX_DAYS:,} days, got {days}"
        raise CommandError(message)
    return timezone.now() + timedelta(days=days)


def until(expires_at: datetime | None) -> str:
    """For people: until when."""
    return f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until revoked"
