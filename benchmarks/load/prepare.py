"""Migrate and seed the database of a load test; issue a token for each of the first users.

DATABASE_URL=... python -m benchmarks.load.prepare HOW_MANY_TOKENS FILE_FOR_THEM
"""

import sys
from pathlib import Path

import django

USERS, NOTES, TAGS, TAGS_PER_NOTE = 1_000, 10, 50, 3  # as in the demo data


def main(tokens: int, path: Path) -> None:
    django.setup()
    # models need a Django that is set up
    from django.core.management import call_command  # noqa: PLC0415

    from notes import seeding  # noqa: PLC0415
    from users.models import ApiToken, User  # noqa: PLC0415

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
    users = User.objects.order_by("id")[:tokens]
    path.write_text("".join(f"{ApiToken.issue(user, 'load test')[1]}\n" for user in users))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
