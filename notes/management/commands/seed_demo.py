"""``manage.py seed_demo``: load a small data set for development, never for production."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from notes import seeding
from pcf.conf import config
from users.models import ApiToken, User
from users.tokens import digest_of

VOLUME = seeding.Volume(users=1_000, notes_per_user=10, tags=50, tags_per_note=3, private_share=0.2)
TOKEN = "test-token"  # noqa: S105 (the text is public, hence the feature flag)
ADMIN = "admin"  # name and password


class Command(BaseCommand):
    help = (
        "Create 1,000 users with 10 notes each (2 of them private), 50 tags, an API token "
        f"({TOKEN}) for the first user and a superuser ({ADMIN} / {ADMIN}), in one transaction. "
        "Do nothing if the database has users. The command needs the feature demo_data, which only "
        "development settings switch on."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not config().features.demo_data:
            raise CommandError(
                "the demo data has a token and a password that everybody knows; these settings do "
                "not allow it (features.demo_data is off)"
            )
        with transaction.atomic():
            done = self._seed()
        self.stdout.write(done)

    def _seed(self) -> str:
        """Load the data unless the database has users; return a message. Needs a transaction."""
        with connection.cursor() as cursor:
            cursor.execute(
                "LOCK TABLE users_user"
            )  # no user appears between the check and the load
            if User.objects.exists():
                return "The database has users already: nothing to do."
            # An interrupted run has used up ids, and the documentation names user 1.
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
