"""Mutations: the transaction around them, the validation of their input, and their user errors.

A mutation that the domain refuses is no GraphQL error. Its payload holds ``userErrors``, and the
transaction writes nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial, wraps
from inspect import getdoc
from typing import Any

import graphene
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, models
from graphql import GraphQLResolveInfo

from pcf.database.transactions import run_transaction
from pcf.viewer import Viewer

Mutate = Callable[..., Any]

# -- user errors --------------------------------------------------------------------------------


class UserErrorCode(graphene.Enum):
    """Why a mutation was refused."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    REQUIRED = "REQUIRED"
    TOO_LONG = "TOO_LONG"
    TAKEN = "TAKEN"
    CONFLICT = "CONFLICT"
    INVALID = "INVALID"
    WRONG_CREDENTIALS = "WRONG_CREDENTIALS"
    THROTTLED = "THROTTLED"
    UNFINISHED = "UNFINISHED"

    @property
    def description(self) -> str:
        """The description of a value."""
        return _DESCRIPTIONS[self.value]


_DESCRIPTIONS = {
    "UNAUTHENTICATED": "The mutation needs a token.",
    "FORBIDDEN": "The viewer may read the object, but not change it.",
    "NOT_FOUND": "There is no such object, or the viewer may not see it.",
    "REQUIRED": "The value is missing or empty.",
    "TOO_LONG": "The value is too long, or has too many items.",
    "TAKEN": "Another object has the value.",
    "CONFLICT": "The object was changed since the client read it. The payload has it as it is now.",
    "INVALID": "The value is wrong for another reason.",
    "WRONG_CREDENTIALS": "The account, the password or a token is wrong.",
    "THROTTLED": "Too many attempts failed; a later one may succeed.",
    "UNFINISHED": "The work is too large for one request. A part is done; the same mutation again "
    "goes on.",
}


class UserError(graphene.ObjectType):
    """Why a mutation did not do what was asked. Nothing was written, except for UNFINISHED."""

    field = graphene.String(description="The field of the input, null when it is none of them.")
    code = graphene.NonNull(UserErrorCode, description="The reason, for programs.")
    message = graphene.String(required=True, description="The reason, for people.")


def payload_errors() -> graphene.List:
    """Return the field ``userErrors`` of a payload."""
    return graphene.List(
        graphene.NonNull(UserError),
        required=True,
        description="Why the mutation was refused; empty when it was not.",
    )


class MutationRefused(Exception):
    """The refusal of a mutation, which rolls its transaction back.

    ``errors`` become the user errors of the payload: tuples of the input field (or None), the code
    and the message. ``payload`` holds the other fields of the payload, for instance a row as it is.
    """

    def __init__(self, *errors: tuple[str | None, str, str], **payload: Any) -> None:
        super().__init__(*errors)
        self.errors = errors
        self.payload = payload


def refusal(code: str, message: str, field: str | None = None, **payload: Any) -> MutationRefused:
    """Return a refusal with one user error, for the caller to raise."""
    return MutationRefused((field, code, message), **payload)


# -- checks -------------------------------------------------------------------------------------


def require_login(viewer: Viewer) -> None:
    """Raise MutationRefused for an anonymous viewer."""
    if not viewer.is_authenticated:
        raise refusal("UNAUTHENTICATED", "You must be logged in to do this.")


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store ``text``: it has no NUL, and UTF-8 can encode it."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def assign(instance: models.Model, values: Mapping[str, Any]) -> None:
    """Set fields of ``instance``. A null clears a text that may be empty.

    A null for any other field without NULL stays, and ``clean`` refuses it.
    """
    for name, value in values.items():
        field = _field(instance, name)
        clears = value is None and field.blank and field.empty_strings_allowed and not field.null
        setattr(instance, name, "" if clears else value)


def clean(instance: models.Model, fields: dict[str, str]) -> None:
    """Validate the ``fields`` of ``instance``: the names of model fields, each with the name of
    the input field.

    A field that must have a value is REQUIRED when it is null, or a text of nothing but white
    space. Raises MutationRefused with an error for each invalid field.
    """
    unstorable = [name for name in fields if not _is_storable_value(getattr(instance, name))]
    if unstorable:
        message = "The text has a character that cannot be stored."
        raise MutationRefused(*((fields[name], "INVALID", message) for name in unstorable))
    missing = [name for name in fields if _is_missing(instance, name)]
    errors: list[tuple[str | None, str, str]] = [
        (fields[name], "REQUIRED", "This field must have a value.") for name in missing
    ]
    exclude = _other_fields(instance, fields) | set(missing)
    try:
        instance.full_clean(exclude=exclude, validate_constraints=False)
    except ValidationError as invalid:
        errors += _user_errors(invalid, fields)
    if errors:
        raise MutationRefused(*errors)


def _is_missing(instance: models.Model, name: str) -> bool:
    """Return whether a field that must have a value has none."""
    field, value = _field(instance, name), getattr(instance, name)
    if isinstance(value, str):
        return not field.blank and not value.strip()
    return value is None and not field.null


def _field(instance: models.Model, name: str) -> Any:
    return instance._meta.get_field(name)  # noqa: SLF001 - Django's documented API


def _is_storable_value(value: Any) -> bool:
    return not isinstance(value, str) or is_storable(value)


def _other_fields(instance: models.Model, fields: dict[str, str]) -> set[str]:
    names = {field.name for field in instance._meta.fields}  # noqa: SLF001 - Django's documented API
    return names - set(fields)


_CODES = {
    "blank": "REQUIRED",
    "null": "REQUIRED",
    "required": "REQUIRED",
    "max_length": "TOO_LONG",
    "unique": "TAKEN",
}


def _user_errors(
    invalid: ValidationError, fields: dict[str, str]
) -> list[tuple[str | None, str, str]]:
    return [
        (fields.get(name), _CODES.get(error.code or "", "INVALID"), message)
        for name, errors in invalid.error_dict.items()
        for error in errors
        for message in error.messages
    ]


# -- the resolver -------------------------------------------------------------------------------


def mutation(
    payload: type[graphene.ObjectType], *, atomic: bool = True, points: int = 0
) -> Callable[[Mutate], Mutate]:
    """Make ``mutate(viewer, info, values) -> dict`` the resolver of a mutation with ``payload``.

    ``mutate`` runs in one transaction, and its result fills the payload. MutationRefused and a
    violated constraint of the database roll the transaction back and become ``userErrors``.

    ``run_transaction`` repeats a transaction when PostgreSQL guarantees that nothing was committed.
    So ``mutate`` must change nothing but the database, and must not change ``values``.

    Without ``atomic``, ``mutate`` calls ``run_transaction`` itself. So it may wait, or commit
    something before it refuses. The engine ignores the idempotency key of an operation with such a
    mutation: nothing stores its answer. ``points`` is what the mutation costs at least
    (``pcf.documents.cost``).
    """

    def decorate(mutate: Mutate) -> Mutate:
        @wraps(mutate)
        def resolve(_root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
            values = arguments.get("input") or {}
            clear_loaders, note_rows = info.context.loaders.clear, info.context.note_rows
            run = partial(mutate, info.context.viewer, info, values)
            if info.context.is_one_transaction:
                run = partial(_checked, run)
            try:
                changed = run_transaction(run, before_retry=clear_loaders) if atomic else run()
            except MutationRefused as refused:
                errors = [_as_user_error(*error) for error in refused.errors]
                note_rows(refused.payload.values())
                return payload(user_errors=errors, **refused.payload)
            except IntegrityError:
                message = "The values conflict with what is stored."
                return payload(user_errors=[_as_user_error(None, "INVALID", message)])
            finally:
                clear_loaders()
            note_rows(changed.values())
            return payload(user_errors=[], **changed)

        resolve.points = points  # type: ignore[attr-defined]
        resolve.atomic = atomic  # type: ignore[attr-defined]
        return resolve

    return decorate


def _checked(run: Callable[[], Any]) -> Any:
    """Call ``run``, and check the deferred constraints now: the COMMIT comes after other work."""
    changed = run()
    connections[DEFAULT_DB_ALIAS].check_constraints()
    return changed


def _as_user_error(field: str | None, code: str, message: str) -> UserError:
    return UserError(field=field, code=code, message=message)


def mutation_field(
    payload: type[graphene.ObjectType],
    input_type: type[graphene.InputObjectType] | None,
    resolver: Callable[..., Any],
) -> graphene.Field:
    """Return the field of a mutation with one argument, ``input``, or without any.

    The descriptions are the docstrings of ``resolver`` and of ``input_type``.
    """
    arguments = {}
    if input_type is not None:
        arguments["input"] = input_type(required=True, description=getdoc(input_type))
    return graphene.Field(
        payload,
        args=arguments,
        required=True,
        resolver=resolver,
        description=getdoc(resolver),
    )
