"""``manage.py warm_cache``: put responses into the cache before clients ask for them."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.cache.invalidation import user_id_of
from pcf.conf import find_service
from pcf.errors import ClientError
from pcf.http.request import GraphQLRequest, make_request
from pcf.http.request_state import open_timeout
from pcf.timeouts import activate
from pcf.viewer import ANONYMOUS, Viewer, ViewerId


class Command(BaseCommand):
    help = (
        "Put responses into the cache. FILE is a JSON list of objects with query, variables and "
        "operationName as in a request, and viewers: a list of user ids and 'anonymous', which is "
        "the default. The operations must be queries; a mutation is refused and not executed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *_args: Any, file: Path, **_options: Any) -> None:
        service = find_service()
        failed = 0
        for number, request, viewer_id in _read(file):
            anonymous = viewer_id == ANONYMOUS.name
            viewers = [ANONYMOUS] if anonymous else service.find_viewers(viewer_id)
            failed += not viewers
            for viewer in viewers:
                status = _ask(service, request, viewer)
                failed += not status.startswith("pcf;")
                self.stdout.write(f"{number} for {viewer.name}: {status}")
        if failed:
            raise CommandError(f"{failed} could not be answered")


def _ask(service: Any, request: GraphQLRequest, viewer: Viewer) -> str:
    """Execute the request; return Cache-Status, or the messages of the errors."""
    timeout = open_timeout()
    with activate(timeout):
        response = service.answer(request, timeout, viewer=viewer)
    if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return "the operation is no query; warm_cache executes queries only"
    errors = orjson.loads(response.body).get("errors")
    if errors:
        return "; ".join(error["message"] for error in errors)
    status: str = response.headers["Cache-Status"]
    return status


def _read(file: Path) -> Iterator[tuple[int, GraphQLRequest, Any]]:
    """Yield number, request and viewer of every entry. Raises CommandError for a wrong file."""
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"{file}: {error}") from error
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CommandError(f"{file}: the file must be a list of objects")
    read = []
    for number, item in enumerate(content, start=1):
        viewers = item.get("viewers", [ANONYMOUS.name])
        try:
            ids = [viewer if viewer == ANONYMOUS.name else _user_id(viewer) for viewer in viewers]
        except (LookupError, TypeError):
            told = f"{file}: viewers of {number} are user ids and '{ANONYMOUS.name}'"
            raise CommandError(told) from None
        try:
            request = make_request(item)._replace(queries_only=True)
        except ClientError as error:
            raise CommandError(f"{file}: {number}: {error}") from error
        read += [(number, request, viewer_id) for viewer_id in ids]
    yield from read


def _user_id(value: Any) -> ViewerId:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return user_id_of(value)
