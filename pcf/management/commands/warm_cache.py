"""Ask for responses before anybody else does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.apps import find_service
from pcf.errors import ClientError
from pcf.http.arrival import open_timeout
from pcf.http.protocol import GraphQLRequest, make_request
from pcf.timeouts import activate
from pcf.viewer import ANONYMOUS, Viewer


class Command(BaseCommand):
    help = (
        "Put responses into the cache. FILE is a JSON list of objects with query, variables and "
        "operationName as in a request, and viewers: a list of user ids and 'anonymous' (default)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *_args: Any, file: Path, **_options: Any) -> None:
        service = find_service()
        failed = 0
        for number, request, whose in _read(file):
            viewer = ANONYMOUS if whose == ANONYMOUS.name else service.find_viewer(whose)
            told = "no such viewer" if viewer is None else _ask(service, request, viewer)
            failed += not told.startswith("pcf;")
            self.stdout.write(f"{number} for {whose}: {told}")
        if failed:
            raise CommandError(f"{failed} could not be answered")


def _ask(service: Any, request: GraphQLRequest, viewer: Viewer) -> str:
    """``Cache-Status``, or what the errors say."""
    timeout = open_timeout()
    with activate(timeout):
        response = service.answer(request, timeout, viewer=viewer)
    errors = orjson.loads(response.body).get("errors")
    if errors:
        return "; ".join(error["message"] for error in errors)
    status: str = response.headers["Cache-Status"]
    return status


def _read(file: Path) -> Iterator[tuple[int, GraphQLRequest, Any]]:
    """Number, request and viewer of everything in the file, which is checked as a whole first."""
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"{file}: {error}") from error
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CommandError(f"{file}: it has to be a list of objects")
    read = []
    for number, item in enumerate(content, start=1):
        viewers = item.get("viewers", [ANONYMOUS.name])
        known = (type(v) is int or v == ANONYMOUS.name for v in viewers)
        if not isinstance(viewers, list) or not all(known):
            raise CommandError(f"{file}: viewers of {number} are user ids and '{ANONYMOUS.name}'")
        try:
            request = make_request(item)
        except ClientError as error:
            raise CommandError(f"{file}: {number}: {error}") from error
        read += [(number, request, whose) for whose in viewers]
    yield from read
