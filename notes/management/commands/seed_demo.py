"""``manage.py seed_demo``: a small world to try things out in, never for production."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from notes import seeding
from pcf.apps import config
from users.models import ApiToken, User
from users.tokens import digest_of

VOLUME = seeding.Volume(users=1_000, notes_per_user=10, tags=50, tags_per_note=3, private_share=0.2)
TOKEN = "test-token"  # noqa: S105 (documented: everyone may know it, hence the feature flag)
ADMIN = "admin"  # name and password


class Command(BaseCommand):
    help = (
        "Creates 1,000 users with 10 notes each (2 of them private), 50 tags, an API token "
        f"({TOKEN}) for the first user and a superuser ({ADMIN} / {ADMIN}), in one transaction. "
        "Does nothing when there are users. Needs the feature demo_data, which only development "
        "settings switch on."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not config().features.demo_data:
            raise CommandError(
                "demo data comes with a token and a log-in that all can guess; these settings do "
                "not allow it (features.demo_data is off)"
            )
        with transaction.atomic():
            done = self._seed()
        self.stdout.write(done)

    def _seed(self) -> str:
        """Seed unless there are users; returns what to tell. Runs in a transaction."""
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE users_user")  # nobody signs up between look and leap
            if User.objects.exists():
                return "There are users already: nothing to do."
            # A run that was cut off has used up ids; the first user is documented as number 1.
            cursor.execute("ALTER SEQUENCE users_user_id_seq RESTART")
            cursor.execute("ALTER SEQUENCE notes_note_id_seq RESTART")
        seeding.load(VOLUME)
        first = User.objects.earliest("id")
        ApiToken.objects.create(user=first, name="demo", digest=digest_of(TOKEN))
        User.objects.create_superuser(ADMIN, "admin@example.org", ADMIN, name="Administrator")
        return (
            f"{VOLUME.users:,} users with {VOLUME.notes_per_user} notes each, {VOLUME.tags} tags; "
            f"token {TOKEN} for user {first.pk} ({first.username}); "
            f"superuser {ADMIN}, password {ADMIN}"
        )
