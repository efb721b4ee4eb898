"""``manage.py purge_sessions``: delete sessions that have expired."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from users import sessions
from users.models import Session

STEP = 1_000  # sessions of a transaction


class Command(BaseCommand):
    help = (
        "Delete sessions that have expired, with their tokens. The next log-in of their users does "
        "so as well. Run the command once a day."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        count, now = 0, timezone.now()
        while True:
            expired = Session.objects.filter(expires_at__lte=now).order_by("pk")
            ids = list(expired.values_list("pk", flat=True)[:STEP])
            if not ids:
                break
            with transaction.atomic():
                count += sessions.end(ids)
        self.stdout.write(f"{count} sessions deleted")
