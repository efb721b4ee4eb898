"""``manage.py purge_accounts``: finish the deletion of accounts."""

from typing import Any

from django.core.management.base import BaseCommand

from users import accounts, audit
from users.models import User


class Command(BaseCommand):
    help = (
        "Delete the accounts whose users have asked for it, with their notes, in steps. "
        "deleteAccount deletes most accounts itself. Run the command once a day."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        wanted = User.objects.exclude(deletion_requested_at=None).filter(is_active=False)
        keys = list(wanted.order_by("pk").values_list("pk", flat=True))
        for key in keys:
            accounts.delete_rows(key)
            audit.log("deleted an account", id=key)
        self.stdout.write(f"{len(keys)} accounts deleted")
