"""``manage.py seed_load``: load users, notes and tags in large numbers."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from notes import seeding
from pcf.conf import config

BAR_WIDTH = 30  # characters
REDRAW_INTERVAL = 0.1  # seconds

_COUNTS = {
    "users": (1_000, "number of users"),
    "notes_per_user": (100, "notes of each user"),
    "tags": (50, "number of tags"),
    "tags_per_note": (3, "tags of each note"),
    "batch_size": (10_000, "rows of a batch"),
    "seed": (1, "selects the text, times and tags of the rows"),
}


class Command(BaseCommand):
    help = (
        "Add made-up users, notes and tags to the database by COPY, in one transaction. An "
        "interrupted load changes nothing. The users get unused names and no password. The notes "
        "reuse tags with the same names. --replace first deletes all notes, all tags and all users "
        "but staff and superusers. Settings without the feature demo_data, such as those for "
        "production, need --into with the name of the database."
    )

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Take the whole names of options alone: ``--notes`` would be ``--notes-per-user``."""
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, (default, text) in _COUNTS.items():
            option = "--" + name.replace("_", "-")
            parser.add_argument(option, type=int, default=default, help=f"{text} ({default:,})")
        parser.add_argument(
            "--private-share",
            type=float,
            default=0.2,
            help="share of every user's notes that is private, 0 to 1 (0.2)",
        )
        parser.add_argument(
            "--into",
            metavar="NAME",
            help="name of the database, where the feature demo_data is off: a confirmation that "
            "the made-up rows belong there",
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="first delete all notes, tags and users who are not staff; "
            "readers wait until the load ends",
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="with --replace: delete without confirmation",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            volume = seeding.Volume(
                **{name: options[name] for name in _COUNTS}, private_share=options["private_share"]
            )
        except seeding.SeedingError as error:
            raise CommandError(str(error)) from error
        _check_database(options["into"])
        if options["replace"] and options["interactive"]:
            self._confirm()

        progress = progress_bar(sys.stderr, volume.notes) or seeding.ignore_progress
        started = time.monotonic()
        try:
            seeding.load(volume, replace=options["replace"], progress=progress)
        except KeyboardInterrupt:
            raise CommandError("interrupted; nothing was changed") from None
        seconds = time.monotonic() - started
        seeding.vacuum()
        rows = volume.users + volume.notes + volume.note_tags
        self.stdout.write(
            f"{volume.users:,} users, {volume.notes:,} notes and {volume.note_tags:,} tags on them "
            f"in {seconds:.1f} s: {volume.notes / seconds:,.0f} notes/s, {rows / seconds:,.0f} "
            "rows/s"
        )

    def _confirm(self) -> None:
        """Ask for confirmation. Raises CommandError for any answer but yes."""
        if not sys.stdin.isatty():
            raise CommandError("--replace deletes data; without a terminal it needs --no-input")
        question = "Delete all notes, all tags and all users who are not staff? [yes/no] "
        if input(question).strip().lower() != "yes":
            raise CommandError("nothing was changed")


def _check_database(named: str | None) -> None:
    """Raise CommandError unless the settings or the caller allow made-up rows in the database."""
    name = str(connection.settings_dict["NAME"])
    if named is None and not config().features.demo_data:
        raise CommandError(
            "these settings are not for made-up rows (features.demo_data is off); nothing was "
            f"changed. To load them all the same, name the database: --into {name}"
        )
    if named is not None and named != name:
        raise CommandError(f"the database is {name}, not {named}; nothing was changed")


def progress_bar(stream: TextIO, total: int) -> Callable[[int], None] | None:
    """Return a function that draws the progress in notes; None without a terminal."""
    if not stream.isatty() or not total:
        return None
    started = drawn = time.monotonic()

    def draw(done: int) -> None:
        nonlocal drawn
        now = time.monotonic()
        if done < total and now - drawn < REDRAW_INTERVAL:
            return
        drawn = now
        rate = done / max(now - started, 1e-9)
        filled = BAR_WIDTH * done // total
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        end = "\n" if done >= total else ""
        stream.write(f"\r[{bar}] {done / total:4.0%} {done:,} notes, {rate:,.0f}/s{end}")
        stream.flush()

    return draw
