"""Two WSGI applications as upper limits for a GraphQL server.

``json_agg``: PostgreSQL builds the whole answer in one statement.
``bare``: the application sends a finished answer from memory.
"""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from psycopg_pool import ConnectionPool

from benchmarks.peers.cases import GRAPH, SMALL

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_USERS = """
SELECT json_build_object('data', json_build_object('users', json_agg(
    json_build_object('id', u.id::text, 'name', u.name, 'notes', u.notes) ORDER BY u.id)))::text
FROM (
    SELECT id, name, (
        SELECT coalesce(json_agg(json_build_object('id', n.id::text, 'title', n.title, 'author',
            (SELECT json_build_object('name', a.name) FROM users_user a WHERE a.id = n.author_id),
            'tags', (
                SELECT coalesce(json_agg(json_build_object('name', t.name) ORDER BY t.id), '[]')
                FROM notes_notetag l JOIN tags_tag t ON t.id = l.tag_id WHERE l.note_id = n.id
            )) ORDER BY n.id), '[]')
        FROM notes_note n WHERE n.author_id = users_user.id AND n.is_public
    ) AS notes
    FROM users_user ORDER BY id LIMIT 100
) u
"""
_NOTE = """
SELECT json_build_object('data', json_build_object('note', (
    SELECT json_build_object('id', n.id::text, 'title', n.title, 'author',
        (SELECT json_build_object('name', a.name) FROM users_user a WHERE a.id = n.author_id))
    FROM notes_note n WHERE n.id = %s AND n.is_public)))::text
"""


class _Answers:
    """Answers the queries of the comparison; ``remember`` keeps the answers in memory."""

    def __init__(self, *, remember: bool) -> None:
        self._pool: ConnectionPool[Any] | None = None
        self._known: dict[bytes, bytes] | None = {} if remember else None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        known = self._known
        body = known.get(request) if known is not None else None
        if body is None:
            body = self._ask(json.loads(request))
            if known is not None:
                known[request] = body
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    def _ask(self, request: dict[str, Any]) -> bytes:
        if self._pool is None:  # a pool must not be opened before the fork
            self._pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=10)
        statement = {GRAPH: _USERS, SMALL: _NOTE}[request["query"]]
        with self._pool.connection() as connection:
            values = list(request.get("variables", {}).values())
            row = connection.execute(statement, values or None).fetchone()
            return str(row[0]).encode() if row else b""


json_agg = _Answers(remember=False)
bare = _Answers(remember=True)
