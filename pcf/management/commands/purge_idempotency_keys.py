"""``manage.py purge_idempotency_keys``: delete old answers to mutations with a key."""

from typing import Any

from django.core.management.base import BaseCommand

from pcf.http.idempotency import oldest
from pcf.models import IdempotentAnswer

BATCH = 10_000  # rows of a transaction


class Command(BaseCommand):
    help = (
        "Delete answers to mutations with an Idempotency-Key that are older than "
        "PCF_REQUESTS_IDEMPOTENCY_TTL. They do not count any more. Run the command once a day."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        old = IdempotentAnswer.objects.filter(created_at__lt=oldest()).order_by("created_at")
        done, count = 0, BATCH
        while count == BATCH:
            count, _ = IdempotentAnswer.objects.filter(
                pk__in=list(old.values_list("pk", flat=True)[:BATCH])
            ).delete()
            done += count
        self.stdout.write(f"{done:,} answers are gone.")
