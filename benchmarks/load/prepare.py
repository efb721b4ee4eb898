"""Migrate and seed the database of a load test; issue tokens and begin sessions of the first users.

DATABASE_URL=... python -m benchmarks.load.prepare HOW_MANY_USERS FILE_FOR_THEM
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import django

USERS, NOTES, TAGS, TAGS_PER_NOTE = 1_000, 10, 50, 3  # as in the demo data


def main(count: int, path: Path) -> None:
    django.setup()
    # models need a Django that is set up
    from django.core.management import call_command  # noqa: PLC0415

    from notes import seeding  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    seeding.load(
        seeding.Volume(
            users=USERS,
            notes_per_user=NOTES,
            tags=TAGS,
            tags_per_note=TAGS_PER_NOTE,
            private_share=0.2,
        )
    )
    seeding.vacuum()
    path.write_text(json.dumps(viewers(count)))


def viewers(count: int) -> list[dict[str, Any]]:
    """Give the first ``count`` users a password, a token and a session; return them.

    The members of each are fields of ``benchmarks.load.sessions.Viewer``. The token never expires,
    so a load may begin at any time. The first refresh replaces it.
    """
    from django.contrib.auth.hashers import make_password  # noqa: PLC0415
    from django.db import transaction  # noqa: PLC0415

    from users import sessions  # noqa: PLC0415
    from users.models import ApiToken, User  # noqa: PLC0415

    users = list(User.objects.order_by("id")[:count])
    password = secrets.token_urlsafe()
    encoded = make_password(password)  # one hash for all, because hashing is slow
    User.objects.filter(pk__in=[user.pk for user in users]).update(password=encoded)
    found = []
    for user in users:
        with transaction.atomic():
            access = sessions.begin(user, device="load test", scope="write", has_cookie=False)
            _, token = ApiToken.issue(user, "load test")
        found.append({
            "token": token,
            "username": user.username,
            "password": password,
            "refresh_token": access.refresh_token,
        })  # fmt: skip
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
