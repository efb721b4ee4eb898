"""Documents that select every field of the schema, and the answers that the table demands."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from graphql import (
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_interface_type,
    is_leaf_type,
)

from pcf.conf import config
from pcf.project.schema import schema_with_diagnostics as schema
from pcf.viewer import ANONYMOUS, Scope, Viewer
from tests.conftest import World
from tests.policy.table import CONNECTED_ROWS, CURRENT, FIELDS, ROWS, UNCACHED, Count, tags_of
from users import sessions
from users.models import ApiToken, User

DEPTH = 2  # edges in a row: each edge occurs behind each other edge
FIRST = 4  # rows of a list; the world has fewer


UNAUTHENTICATED = (401, "UNAUTHENTICATED")
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
FOREIGN_PAGE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


@dataclass(frozen=True)
class Kind:
    """A kind of viewer: the headers of its requests, and its Viewer.

    The viewer is None when the service refuses the credentials, with the status and code
    ``refusal``. ``in_session`` says that the credentials belong to a session.
    """

    headers: dict[str, str]
    viewer: Viewer | None
    refusal: tuple[int, str] = UNAUTHENTICATED
    in_session: bool = False


KINDS = {  # name: (user of the world, scope)
    "owner": ("ann", Scope.WRITE),
    "owner with read": ("ann", Scope.READ),
    "owner with admin": ("ann", Scope.ADMIN),
    "owner with a session": ("ann", Scope.WRITE),
    "owner with a cookie": ("ann", Scope.WRITE),
    "owner with a cookie for read": ("ann", Scope.READ),
    "other": ("bob", Scope.WRITE),
    "other with read": ("bob", Scope.READ),
    "other with a cookie": ("bob", Scope.WRITE),
    "other with a token beside the owner's cookie": ("bob", Scope.WRITE),
    "staff": ("staff", Scope.ADMIN),
    "staff with write": ("staff", Scope.WRITE),
    "staff with read": ("staff", Scope.READ),
    "staff with a cookie": ("staff", Scope.ADMIN),
    "staff with a cookie for write": ("staff", Scope.WRITE),
}
REFUSED_TOKENS = ("inactive", "inactive staff", "expired", "revoked", "unknown")
REFUSED_COOKIES = (
    "a cookie of a foreign page", "an ended cookie", "an expired cookie", "an inactive cookie",
    "an unknown token beside the owner's cookie",
)  # fmt: skip
REFUSED = (*REFUSED_TOKENS, *REFUSED_COOKIES)
NAMES = ("anonymous", *KINDS, *REFUSED)


def make_kind(name: str, world: World) -> Kind:
    """Return the kind of viewer called ``name``, with new credentials."""
    if name == "anonymous":
        return Kind({}, ANONYMOUS)
    if name in REFUSED_COOKIES:
        return refused_cookie(name, world)
    if name in REFUSED_TOKENS:
        return Kind(bearer(refused_token(name, world)), None)
    username, scope = KINDS[name]
    user = getattr(world, username)
    viewer = Viewer.from_token(user.pk, scope, staff=username == "staff")
    if " cookie" in name and "beside" not in name:
        return Kind(cookie(begin_session(user, scope)), viewer, in_session=True)
    if name.endswith("session"):
        access = sessions.begin(user, device=CURRENT, scope=scope.value, has_cookie=False)
        return Kind(bearer(access.access_token), viewer, in_session=True)
    headers = bearer(ApiToken.issue(user, name, scope=scope.value)[1])
    if "beside" in name:
        headers |= cookie(begin_session(world.ann, scope))
    return Kind(headers, viewer)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str) -> dict[str, str]:
    """Return the headers of a page of the service, in a browser with the session cookie."""
    return {"Cookie": f"theme=dark; {config().requests.session_cookie}={token}", **OWN_PAGE}


def begin_session(user: User, scope: Scope) -> str:
    """Begin a session of a browser; return the text of its cookie."""
    access = sessions.begin(user, device=CURRENT, scope=scope.value, has_cookie=True)
    return access.access_token


def refused_token(name: str, world: World) -> str:
    """Return a token that the service refuses. Its user would have all rights."""
    now = timezone.now()
    fields: dict[str, Any] = {"scope": "admin"}
    user = world.staff
    if name.startswith("inactive"):
        user = make_inactive(staff=name.endswith("staff"))
    elif name == "expired":
        fields["expires_at"] = now - timedelta(seconds=1)
    elif name == "revoked":
        fields["revoked_at"] = now
    text = ApiToken.issue(user, name, **fields)[1]
    return "an unknown token" if name == "unknown" else text


def refused_cookie(name: str, world: World) -> Kind:
    """Return a viewer whose cookie the service refuses. Its user would have all rights."""
    if name.endswith("the owner's cookie"):  # the token counts, whatever the cookie is
        text = begin_session(world.ann, Scope.ADMIN)
        return Kind({**cookie(text), **bearer("an unknown token")}, None)
    user = make_inactive(staff=True) if "inactive" in name else world.staff
    text = begin_session(user, Scope.ADMIN)
    if "foreign" in name:
        return Kind({**cookie(text), **FOREIGN_PAGE}, None, (403, "FOREIGN_ORIGIN"))
    if "ended" in name:
        sessions.end_all(user.pk)
    elif "expired" in name:
        ApiToken.objects.filter(user=user).update(expires_at=timezone.now() - timedelta(seconds=1))
    return Kind(cookie(text), None)


def make_inactive(*, staff: bool) -> User:
    return User.objects.create(username="gone", name="Gone", is_active=False, is_staff=staff)


def fields_of(schema: GraphQLSchema) -> set[str]:
    """Return every ``Type.field`` of the schema and every ``Type.field(argument)``.

    Input types are included, introspection types are not.
    """
    names = set()
    for name, found in schema.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(found, GraphQLInputObjectType):
            names |= {f"{name}.{field}" for field in found.fields}
        elif isinstance(found, GraphQLObjectType | GraphQLInterfaceType):
            for key, field in found.fields.items():
                names |= {f"{name}.{key}", *(f"{name}.{key}({given})" for given in field.args)}
    return names


def selection(found: Any, depth: int = DEPTH) -> str:
    """Return a selection of every field of an output type, with edges up to ``depth``.

    The fields of an interface are those of its types, with fewer edges: they stand there for each.
    """
    named = get_named_type(found)
    if is_leaf_type(named):
        return ""
    if (node := node_of(named)) is not None:
        facets = "tagFacets { tag { id } count }" if "tagFacets" in named.fields else ""
        rows = selection(node, 0)
        return f"{{ totalCount nodes {rows} edges {{ node {{ id }} }} {facets} }}"
    parts = []
    if is_interface_type(named):
        types = schema.graphql_schema.get_possible_types(named)
        parts = [f"... on {type_.name} {selection(type_, depth - 1)}" for type_ in types]
        return "{ " + " ".join(parts) + " }"
    for name, field in named.fields.items():
        is_leaf = is_leaf_type(get_named_type(field.type))
        if f"{named.name}.{name}" in UNCACHED:
            continue
        if is_leaf or depth > 0:
            limit = f"(first: {FIRST})" if "first" in field.args else ""
            if "orderBy" in field.args:
                limit = f"(first: {FIRST}, orderBy: [{{ field: ID }}])"
            parts.append(f"{name}{limit} {selection(field.type, depth - 1)}")
    return "{ " + " ".join(parts) + " }"


def expected(found: Any, what: Any, viewer: Viewer, depth: int = DEPTH) -> Any:
    """Return the answer to ``selection`` of ``what`` that the table demands for ``viewer``."""
    named = get_named_type(found)
    if isinstance(what, Count):
        return len([row for row in what.rows if ROWS[what.type_name](viewer, row)])
    if (node := node_of(named)) is not None:
        return expected_connection(named, node, what, viewer)
    if isinstance(what, list):
        if not is_interface_type(named):
            what = sorted((row for row in what if ROWS[named.name](viewer, row)), key=_key)
        return [expected(named, row, viewer, depth) for row in what]
    if what is None or is_leaf_type(named):
        return what
    if is_interface_type(named):
        named, depth = schema.graphql_schema.type_map[type(what).__name__], depth - 1
    if not ROWS[named.name](viewer, what):
        return None
    return expected_row(named, what, viewer, depth)


def expected_row(named: Any, what: Any, viewer: Viewer, depth: int) -> dict[str, Any]:
    """Return the answer that the table demands for a row that the viewer may see."""
    answer = {}
    for name, field in named.fields.items():
        rule = FIELDS[f"{named.name}.{name}"]
        if f"{named.name}.{name}" in UNCACHED:
            continue
        if is_leaf_type(get_named_type(field.type)) or depth > 0:
            value = rule.what(what) if rule.who(viewer, what) else None
            answer[name] = expected(field.type, value, viewer, depth - 1)
    return answer


def node_of(named: Any) -> Any:
    """Return the type of the rows of a connection type; None for any other type."""
    nodes = named.fields.get("nodes") if named.name.endswith("Connection") else None
    return None if nodes is None else get_named_type(nodes.type)


def expected_connection(named: Any, node: Any, rows: list[Any], viewer: Viewer) -> dict[str, Any]:
    """Return the answer that the table demands for a connection to ``rows``, by id."""
    rule = CONNECTED_ROWS.get(named.name, ROWS[node.name])
    visible = sorted((row for row in rows if rule(viewer, row)), key=_key)
    answer = {
        "totalCount": len(visible),
        "nodes": [expected_row(node, row, viewer, 0) for row in visible],
        "edges": [{"node": {"id": str(row.pk)}} for row in visible],
    }
    if "tagFacets" in named.fields:
        counts = Counter(tag.pk for row in visible for tag in tags_of(row))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        answer["tagFacets"] = [{"tag": {"id": str(key)}, "count": count} for key, count in ordered]
    return answer


def _key(row: Any) -> int:
    key: int = row.pk
    return key
