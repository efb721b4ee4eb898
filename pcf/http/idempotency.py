"""Idempotency keys: a client that repeats a mutation gets the answer that it missed.

The header ``Idempotency-Key`` is that of draft-ietf-httpapi-idempotency-key-header. With a key, the
whole operation is one transaction, which also stores the answer. So the answer is there if and only
if the writes are: after the death of a worker behind the COMMIT, and after a COMMIT whose outcome
the worker did not learn (``OUTCOME_UNKNOWN``).

* A key belongs to its viewer. The key of an anonymous viewer is ignored.
* An advisory lock of the transaction makes other requests with the key fail with 409 meanwhile.
* An operation with errors is rolled back as a whole, and its key may be used again. A refusal
  (``userErrors``) is an answer, and is stored.
* Mutations that are not atomic (``pcf.execution.mutations``) cannot be undone together with others.
  Their answers may set cookies and hold secrets. The key of an operation with one is ignored.

The table holds digests of the keys. PostgreSQL's failure is that of the mutation itself.

An answer may show texts. Code that deletes a row for ever calls ``forget_answers``, which deletes
the stored answers that show the row. A repetition is a new request from then on.
"""

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.utils import timezone
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    SelectionSetNode,
    get_operation_ast,
)

from pcf.cache.keys import read_names, request_digest
from pcf.cache.triggers import row_kinds
from pcf.conf import config
from pcf.database.transactions import run_transaction
from pcf.errors import ClientError
from pcf.execution.context import RequestContext
from pcf.execution.dependencies import Dependencies
from pcf.http.request import BadRequest
from pcf.http.request_state import PreparedOperation
from pcf.http.response import encode
from pcf.timeouts import DeadlineExceeded
from pcf.viewer import Viewer

MAX_KEY = 255  # characters
MAX_NAMES = 1_000_000  # of an answer; there are fewer
# A string of RFC 8941 section 3.3.3 without escapes. Many clients leave the quotation marks out.
_KEY = re.compile(rf'"([ -!#-\[\]-~]{{1,{MAX_KEY}}})"|([!#-\[\]-~]{{1,{MAX_KEY}}})')


class KeyInUse(ClientError):
    """A request with the same key is being executed (section 2.7 of the draft)."""

    code = "IDEMPOTENCY_KEY_IN_USE"
    headers = {"Retry-After": "1"}

    def __init__(self) -> None:
        super().__init__("A request with this Idempotency-Key is being executed; try again later")


class KeyReused(ClientError):
    """The key belongs to another request (section 2.7 of the draft)."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; use a new key")


class Completed(NamedTuple):
    """The outcome of an operation with a key.

    ``execution`` is that of this request, None for a stored answer. ``body`` is the JSON of the
    answer, None for an operation that was rolled back.
    """

    execution: Any
    body: bytes | None


class _RolledBack(Exception):
    """The operation has errors: its transaction ends without a trace."""


def parse_key(header: str) -> str:
    """Return the key in the header. Raises BadRequest for text that is no key."""
    match = _KEY.fullmatch(header.strip())
    if match is None:
        message = f"Idempotency-Key must be a string of 1 to {MAX_KEY} printable ASCII characters"
        raise BadRequest(message)
    return match[1] or match[2]


def part_key(header: str | None, number: int) -> str | None:
    """Return the header for one part of a batch: each part has a key of its own."""
    return None if header is None else f"{number}/{parse_key(header)}"


class IdempotentOperation:
    """One operation with a key, for one viewer."""

    def __init__(self, prepared: PreparedOperation, viewer: Viewer, key: str) -> None:
        name = f"{viewer.name}\0{key}".encode()
        self._digest = hashlib.sha256(name).digest()
        request, document = prepared.request, prepared.document
        self._request = request_digest(
            b"idempotency", document.digest, prepared.operation.name, request.variables
        )
        self._extensions = prepared.cost_extensions()

    @classmethod
    def of(
        cls, prepared: PreparedOperation, viewer: Viewer, schema: GraphQLSchema
    ) -> "IdempotentOperation | None":
        """Return the operation; None where there is no key, or where the key is ignored.

        Raises BadRequest for a header that holds no key.
        """
        header = prepared.request.idempotency_key
        if header is None:
            return None
        key = parse_key(header)
        if not viewer.is_authenticated or not _is_atomic(prepared, schema):
            return None
        return cls(prepared, viewer, key)

    def run(self, execute: Callable[[], Any]) -> Completed:
        """Return the stored answer, or execute the operation and store its answer.

        ``execute`` returns an execution, whose ``result`` is an ExecutionResult. Raises KeyInUse,
        KeyReused, and what ``run_transaction`` raises.
        """
        last: list[Any] = []

        def attempt() -> Completed:
            stored = self._find()
            if stored is not None:
                return Completed(None, stored)
            execution = execute()
            last[:] = [execution]
            _check(execution.result)
            body = encode({"data": execution.result.data, **self._extensions})
            self._store(body, execution.context)
            return Completed(execution, body)

        try:
            return run_transaction(attempt)
        except _RolledBack:
            return _without_data(last[0])
        except (Error, DeadlineExceeded) as error:
            if last and error in _originals(last[0].result):
                return _without_data(last[0])
            raise

    def _find(self) -> bytes | None:
        """Return the stored answer, None for a new key. The key is locked from then on."""
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            number = int.from_bytes(self._digest[:8], signed=True)
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
            (is_locked,) = cursor.fetchone()
        if not is_locked:
            raise KeyInUse
        # a statement of its own: its snapshot has what the last holder of the lock has committed
        answer = _answers().objects.filter(pk=self._digest).first()
        if answer is None:
            return None
        if answer.created_at < oldest():
            answer.delete()
            return None
        if bytes(answer.request).decode() != self._request:
            raise KeyReused
        return bytes(answer.body)

    def _store(self, body: bytes, context: RequestContext) -> None:
        answer = _answers()(
            digest=self._digest, request=self._request.encode(), body=body, shows=_shown(context)
        )
        answer.save(force_insert=True)


def forget_answers(kind: str, keys: Iterable[Hashable]) -> None:
    """Delete the stored answers that depend on ``keys`` of ``kind``.

    Call the function behind the statement that deletes the rows, in its transaction. That statement
    waits for the operations that write the rows, so their answers are found.
    """
    dependencies = Dependencies()
    dependencies.add(kind, keys)
    names = [*_names(dependencies), f"{kind}:*"]
    _answers().objects.filter(shows__overlap=names).delete()


def _shown(context: RequestContext) -> list[str]:
    """Return the names of what the answer depends on, with the rows of the payloads."""
    for row in context.rows:
        for kind in row_kinds(type(row)):
            context.dependencies.add(kind, (row.pk,))
    return _names(context.dependencies)


def _names(dependencies: Dependencies) -> list[str]:
    """Return the names of single keys, and ``kind:*`` for a kind whose keys have no spelling."""
    return [name for name in read_names(dependencies, MAX_NAMES) if not name.endswith("!")]


def _answers() -> Any:
    """Return the model. The server imports this module before the apps are ready."""
    return apps.get_model("pcf", "IdempotentAnswer")


def oldest() -> Any:
    """Return the time before which stored answers do not count any more."""
    return timezone.now() - timedelta(seconds=config().requests.idempotency_ttl)


def _check(result: ExecutionResult) -> None:
    """Raise the error of the database that the operation met, else _RolledBack for any error.

    ``run_transaction`` repeats the transaction after some errors of the database.
    """
    if not result.errors:
        return
    for original in _originals(result):
        if isinstance(original, Error | DeadlineExceeded):
            raise original
    raise _RolledBack


def _originals(result: ExecutionResult) -> Iterator[BaseException]:
    """Yield what the resolvers have raised."""
    for error in result.errors or ():
        original: Any = error
        while isinstance(original, GraphQLError) and original.original_error is not None:
            original = original.original_error
        yield original


def _without_data(execution: Any) -> Completed:
    """Return the outcome of an operation that was rolled back: its errors alone."""
    result = ExecutionResult(None, execution.result.errors)
    return Completed(execution._replace(result=result), None)


def _is_atomic(prepared: PreparedOperation, schema: GraphQLSchema) -> bool:
    """Return whether all mutations of the operation are atomic."""
    document = prepared.document.node
    operation = get_operation_ast(document, prepared.operation.name)
    fields = schema.mutation_type.fields if schema.mutation_type else {}
    fragments = {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    names = _root_fields(operation.selection_set, fragments) if operation else ()
    return all(getattr(fields[name].resolve, "atomic", True) for name in names if name in fields)


def _root_fields(
    selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[str]:
    """Yield the names of the fields of a selection set, fragments expanded."""
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, FragmentSpreadNode):
            yield from _root_fields(fragments[node.name.value].selection_set, fragments)
        else:
            yield from _root_fields(node.selection_set, fragments)  # type: ignore[attr-defined]
