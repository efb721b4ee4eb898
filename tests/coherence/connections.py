"""Random queries with connections: filters, orders, pages, counts, facets, and nodes."""

import random

from pcf.execution.nodes import make_node_id
from tests.coherence.world import World

_NOTE = "id title content isPublic version"
_ORDERS = ("ID", "CREATED_AT", "UPDATED_AT", "TITLE")
_WORDS = ("alpha", "beta", "public", "private")


class ConnectionQueries:
    """Makes a few random queries at first, so that they repeat, and seldom a new one."""

    def __init__(self, world: World, rng: random.Random, size: int = 60) -> None:
        self._world = world
        self._rng = rng
        self._known = [self._new() for _ in range(size)]

    def one(self) -> str:
        """Return a query."""
        if self._rng.random() < 0.1:
            self._known[self._rng.randrange(len(self._known))] = self._new()
        return self._rng.choice(self._known)

    def _new(self) -> str:
        rng, world = self._rng, self._world
        user, tag = rng.choice(world.users), rng.randint(1, 8)
        node_id = make_node_id(rng.choice(["Note", "User", "Tag"]), rng.randint(1, 12))
        page, rows = self._page(), f"nodes {{ {_NOTE} }}"
        info = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
        facets = "tagFacets(first: 3) { count tag { name } }"
        counted = f"totalCount {facets if rng.random() < 0.5 else ''}"
        edges = f"edges {{ cursor snippet node {{ {_NOTE} author {{ name }} }} }}"
        key = rng.choice(["NAME", "NOTE_COUNT"])
        shapes = [
            f"{{ notesConnection({page}) {{ {rows} {info} }} }}",
            f"{{ notesConnection({page}) {{ {edges} {counted} }} }}",
            f'{{ user(id: "{user}") {{ noteCount notesConnection({page}) {{ {rows} {info} }} }} }}',
            f'{{ user(id: "{user}") {{ notesConnection({page}) {{ {counted} {edges} }} }} }}',
            f'{{ tag(id: "{tag}") {{ noteCount notesConnection({page}) {{ {rows} {info} }} }} }}',
            f"{{ tags(first: 4) {{ notesConnection({page}) {{ {counted} nodes {{ id }} }} }} }}",
            (
                f"{{ usersConnection(first: 4, orderBy: [{{ field: NAME }}]) "
                f"{{ totalCount nodes {{ name noteCount }} {info} }} }}"
            ),
            (
                f"{{ tagsConnection(first: 5, orderBy: [{{ field: {key}, direction: DESC }}]) "
                f"{{ totalCount nodes {{ name noteCount }} {info} }} }}"
            ),
            (
                f"{{ notesConnection({page}) {{ nodes {{ id tagsConnection(first: 2) "
                f"{{ totalCount nodes {{ name }} }} }} }} }}"
            ),
            (
                f'{{ node(nodeId: "{node_id}") {{ nodeId ... on Note {{ {_NOTE} }} '
                "... on User { name noteCount } ... on Tag { name noteCount } } }"
            ),
        ]
        return rng.choice(shapes)

    def _page(self) -> str:
        rng = self._rng
        size = f"{rng.choice(['first', 'last'])}: {rng.randint(1, 6)}"
        terms = ", ".join(
            f"{{ field: {field}, direction: {rng.choice(['ASC', 'DESC'])} }}"
            for field in rng.sample(_ORDERS, rng.randint(1, 2))
        )
        conditions = " ".join(self._condition() for _ in range(rng.choice([0, 0, 1, 1, 2])))
        order = f", orderBy: [{terms}]" if rng.random() < 0.7 else ""
        joined = f"{{ and: [{conditions}] }}" if conditions else "{}"
        return f"{size}{order}, filter: {joined}"

    def _condition(self) -> str:
        rng, world = self._rng, self._world
        quantifier, user = rng.choice(["any", "all", "none"]), rng.choice(world.users)
        name = rng.choice([*world.names[-10:], "absent"])
        condition = rng.choice(
            [
                f'title: {{ startsWith: "{rng.choice("nsma")}" }}',
                f'title: {{ contains: "{rng.randint(1, 9)}" }}',
                f'search: "{rng.choice(_WORDS)}"',
                f'search: "-{rng.choice(_WORDS)}"',
                f'searchPrefix: "{rng.choice(_WORDS)[:3]}"',
                f"isPublic: {rng.choice(['true', 'false'])}",
                f'authorId: {{ eq: "{user}" }}',
                f'authorId: {{ in: ["{user}", "1"] }}',
                f'id: {{ in: ["{rng.randint(1, 40)}", "3"] }}',
                f'tags: {{ {quantifier}: {{ ids: ["{rng.randint(1, 8)}"] }} }}',
                f'tags: {{ {quantifier}: {{ names: ["{name}"] }} }}',
                'createdAt: { lt: "2026-06-01T00:00:00Z" }',
                'updatedAt: { gte: "2026-06-01T00:00:00Z" }',
            ]
        )
        wrapped = rng.choice(["{} ", "{} ", "not: {{ {} }}", "or: [{{ {} }}]"])
        return f"{{ {wrapped.format(condition)} }}"
