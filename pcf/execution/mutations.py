"""What mutations share: payloads with ``userErrors``, and the ways a mutation can be refused.

A refusal is data, not a GraphQL error: the client asked in the right form, the answer is no. The
codes tell apart who is asking (UNAUTHENTICATED, FORBIDDEN), what is missing (NOT_FOUND) and what
is wrong with the values (all others, with ``field``).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import graphene
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models
from graphql import GraphQLResolveInfo

from pcf.database.transactions import run_transaction
from pcf.execution.text import is_storable
from pcf.viewer import Viewer


class UserErrorCode(graphene.Enum):
    """Why a mutation was refused."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    REQUIRED = "REQUIRED"
    TOO_LONG = "TOO_LONG"
    TAKEN = "TAKEN"
    INVALID = "INVALID"


class UserError(graphene.ObjectType):
    """Why a mutation did not do what was asked; nothing was written."""

    field = graphene.String(description="The field of the input, null when it is none of them.")
    code = graphene.NonNull(UserErrorCode)
    message = graphene.String(required=True)


def payload_errors() -> graphene.List:
    """The field ``userErrors`` of a payload."""
    return graphene.List(graphene.NonNull(UserError), required=True)


class Refused(Exception):
    """Raised inside a mutation: nothing is written, the payload says why.

    ``errors`` are (field or None, code, message).
    """

    def __init__(self, *errors: tuple[str | None, str, str]) -> None:
        super().__init__(*errors)
        self.errors = errors


def refuse(code: str, message: str, field: str | None = None) -> Refused:
    """One reason, ready to be raised."""
    return Refused((field, code, message))


def require_login(viewer: Viewer) -> None:
    """Refuse an anonymous viewer."""
    if not viewer.is_authenticated:
        raise refuse("UNAUTHENTICATED", "You must be logged in to do this.")


def clean(instance: models.Model, fields: dict[str, str]) -> None:
    """Validate ``instance``; ``fields`` maps its model fields to the names in the input.

    Raises Refused with an error for each field that is not valid.
    """
    unfit = [name for name in fields if not _fits(getattr(instance, name))]
    if unfit:
        message = "The text has a character that cannot be stored."
        raise Refused(*((fields[name], "INVALID", message) for name in unfit))
    try:
        instance.full_clean(exclude=_others(instance, fields), validate_constraints=False)
    except ValidationError as invalid:
        raise Refused(*_user_errors(invalid, fields)) from invalid


def _fits(value: Any) -> bool:
    return not isinstance(value, str) or is_storable(value)


def _others(instance: models.Model, fields: dict[str, str]) -> set[str]:
    return {field.name for field in instance._meta.fields} - set(fields)  # noqa: SLF001


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


Mutate = Callable[..., Any]


def mutation(payload: type[graphene.ObjectType]) -> Callable[[Mutate], Mutate]:
    """Make ``mutate(viewer, info, values) -> dict`` the body of a mutation with ``payload``.

    The body runs in one transaction. What it returns fills the payload; ``Refused`` and a
    violated constraint of the database roll back and become ``userErrors``. A transaction of which
    PostgreSQL guarantees that nothing was committed is repeated (``run_transaction``), so the body
    changes nothing but the database and leaves ``values`` as they are.
    """

    def decorate(mutate: Mutate) -> Mutate:
        @wraps(mutate)
        def resolve(_root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
            values = arguments.get("input") or {}
            forget = info.context.loaders.forget
            try:
                changed = run_transaction(
                    lambda: mutate(info.context.viewer, info, values), before_repetition=forget
                )
            except Refused as refused:
                return payload(user_errors=[_as_user_error(*error) for error in refused.errors])
            except IntegrityError:
                message = "The values conflict with what is stored."
                return payload(user_errors=[_as_user_error(None, "INVALID", message)])
            finally:
                forget()
            return payload(user_errors=[], **changed)

        return resolve

    return decorate


def _as_user_error(field: str | None, code: str, message: str) -> UserError:
    return UserError(field=field, code=code, message=message)
