"""Random queries; most of them repeat often enough to be hits."""

import random

from tests.coherence.client import Viewer
from tests.coherence.connections import ConnectionQueries
from tests.coherence.world import World

_NOTE = "id title content isPublic version"
_TRASH = f"trash(first: 4) {{ totalCount nodes {{ {_NOTE} deletedAt tags {{ name }} }} }}"


class Queries:
    """Picks viewers and queries at random."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._connections = ConnectionQueries(world, rng)

    def one(self) -> tuple[Viewer | None, str]:
        rng, world = self._rng, self._world
        viewer = rng.choice([None, *world.viewers, *world.ended[-1:]])
        if rng.random() < 0.4:
            return viewer, self._connections.one()
        note, tag = self._id(world.newest_note), self._id(8)
        user = rng.choice([*world.users, world.newest_user])
        name = rng.choice([*world.names[-10:], "absent"])
        shapes = [
            f'{{ note(id: "{note}") {{ {_NOTE} author {{ id name email }} tags {{ id name }} }} }}',
            f'{{ note(id: "{note}") {{ {_NOTE} }} }}',
            f"{{ notes(first: 5) {{ {_NOTE} author {{ name }} }} }}",
            f'{{ notes(first: 5, after: "{note}") {{ {_NOTE} tags {{ name }} }} }}',
            f'{{ notes(tag: "{name}") {{ {_NOTE} }} }}',
            f'{{ notes(authorId: "{user}") {{ {_NOTE} }} }}',
            f'{{ notes(authorId: "{user}", tag: "{name}") {{ {_NOTE} }} }}',
            f'{{ userNotes(userId: "{user}") {{ {_NOTE} }} }}',
            f'{{ user(id: "{user}") {{ id name email notes(first: 3) {{ {_NOTE} }} }} }}',
            '{ user(id: "999999") { name } }',
            f"{{ me {{ id name email notes {{ {_NOTE} tags {{ id name }} }} }} }}",
            f"{{ users(first: 20) {{ id name notes(first: 2) {{ {_NOTE} }} }} }}",
            "{ tags(first: 100) { id name } }",
            f'{{ tag(id: "{tag}") {{ id name notes {{ {_NOTE} author {{ name }} }} }} }}',
            f"{{ tags(first: 3) {{ name notes(first: 3) {{ {_NOTE} }} }} }}",
            f"{{ users(first: 100) {{ name notes {{ {_NOTE} tags {{ id }} }} }} }}",
            f"{{ me {{ id {_TRASH} }} }}",
            f'{{ user(id: "{user}") {{ id {_TRASH} }} }}',
        ]
        weights = [4, 4, 2, 3, 3, 3, 2, 2, 3, 1, 2, 1, 2, 3, 1, 1, 3, 1]
        return viewer, rng.choices(shapes, weights)[0]

    def _id(self, newest: int) -> int:
        """Return one of a few ids in most cases, so that answers repeat, or one of the newest."""
        rng = self._rng
        if rng.random() < 0.6:
            return rng.randint(1, 12)
        return rng.randint(max(1, newest - 10), newest + 2)
