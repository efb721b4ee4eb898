"""From the schema and the table: documents that select every field, and what must come back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)

from pcf.viewer import ANONYMOUS, Scope, Viewer
from tests.conftest import World
from tests.policy.table import FIELDS, ROWS
from users.models import ApiToken, User

DEPTH = 2  # edges in a row: enough for every edge to be followed from behind another
FIRST = 4  # rows of a list, which is more than the world has


@dataclass(frozen=True)
class Kind:
    """A kind of viewer: the token they send, and who they are to a policy; None: refused."""

    token: str | None
    viewer: Viewer | None


KINDS = {  # name: (user of the world, scope)
    "owner": ("ann", Scope.WRITE),
    "owner with read": ("ann", Scope.READ),
    "owner with admin": ("ann", Scope.ADMIN),
    "other": ("bob", Scope.WRITE),
    "other with read": ("bob", Scope.READ),
    "staff": ("staff", Scope.ADMIN),
    "staff with write": ("staff", Scope.WRITE),
    "staff with read": ("staff", Scope.READ),
}
REFUSED = ("inactive", "inactive staff", "expired", "revoked", "unknown")
NAMES = ("anonymous", *KINDS, *REFUSED)


def make_kind(name: str, world: World) -> Kind:
    """The kind of viewer called ``name``; makes their token."""
    if name == "anonymous":
        return Kind(None, ANONYMOUS)
    if name in KINDS:
        username, scope = KINDS[name]
        user = getattr(world, username)
        text = ApiToken.issue(user, name, scope=scope.value)[1]
        return Kind(text, Viewer.of_token(user.pk, scope, staff=username == "staff"))
    now = timezone.now()
    fields: dict[str, Any] = {"scope": "admin"}
    user = world.staff
    if name.startswith("inactive"):
        staff = name.endswith("staff")
        user = User.objects.create(username="gone", name="Gone", is_active=False, is_staff=staff)
    elif name == "expired":
        fields["expires_at"] = now - timedelta(seconds=1)
    elif name == "revoked":
        fields["revoked_at"] = now
    text = ApiToken.issue(user, name, **fields)[1]
    return Kind("an unknown token" if name == "unknown" else text, None)


def fields_of(schema: GraphQLSchema) -> set[str]:
    """Every ``Type.field`` of the schema, inputs included, and every ``Type.field(argument)``;
    introspection's own types are not.
    """
    names = set()
    for name, found in schema.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(found, GraphQLInputObjectType):
            names |= {f"{name}.{field}" for field in found.fields}
        elif isinstance(found, GraphQLObjectType):
            for key, field in found.fields.items():
                names |= {f"{name}.{key}", *(f"{name}.{key}({given})" for given in field.args)}
    return names


def selection(found: Any, depth: int = DEPTH) -> str:
    """A selection of every field of an output type, edges to ``depth``; nothing for a leaf."""
    named = get_named_type(found)
    if is_leaf_type(named):
        return ""
    parts = []
    for name, field in named.fields.items():
        is_leaf = is_leaf_type(get_named_type(field.type))
        if is_leaf or depth > 0:
            limit = f"(first: {FIRST})" if "first" in field.args else ""
            parts.append(f"{name}{limit} {selection(field.type, depth - 1)}")
    return "{ " + " ".join(parts) + " }"


def expected(found: Any, what: Any, viewer: Viewer, depth: int = DEPTH) -> Any:
    """What ``selection`` of ``what`` has to be for ``viewer``, says the table."""
    named = get_named_type(found)
    if isinstance(what, list):
        visible = sorted((row for row in what if ROWS[named.name](viewer, row)), key=_key)
        return [expected(named, row, viewer, depth) for row in visible]
    if what is None or is_leaf_type(named):
        return what
    if not ROWS[named.name](viewer, what):
        return None
    answer = {}
    for name, field in named.fields.items():
        rule = FIELDS[f"{named.name}.{name}"]
        if is_leaf_type(get_named_type(field.type)) or depth > 0:
            value = rule.what(what) if rule.who(viewer, what) else None
            answer[name] = expected(field.type, value, viewer, depth - 1)
    return answer


def _key(row: Any) -> int:
    key: int = row.pk
    return key
