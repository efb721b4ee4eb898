"""How dependencies are called in Redis: see ``scripts``."""

from collections.abc import Iterable
from hashlib import sha256

from pcf.execution.dependencies import Dependencies


def read_names(dependencies: Dependencies, limit: int) -> list[str]:
    """The names that an entry with these dependencies is fenced by and listed under.

    With more than ``limit`` dependencies the kinds with most keys are named as a whole, so any
    write to a key of theirs removes the entry: coarser, never wrong.
    """
    by_kind = sorted(dependencies.items(), key=lambda item: len(item[1]))
    names: list[str] = []
    for kind, keys in by_kind:
        names.append(f"{kind}!")
        if len(names) + len(keys) <= limit:
            names.extend(_key_name(kind, key) for key in keys)
        else:
            names.append(f"{kind}:*")
    return names


def write_names(dependencies: Dependencies, limit: int) -> list[str]:
    """The names whose generations a write advances; kinds with more than ``limit`` keys whole."""
    touched = [_key_name(kind, key) for kind, keys in dependencies.items() for key in keys]
    return complete([*touched, *(f"{kind}!" for kind in dependencies.kinds)], limit)


def complete(touched: Iterable[str], limit: int) -> list[str]:
    """The same for names as the outbox has them: ``kind:key``, and ``kind!`` for a whole kind."""
    by_kind: dict[str, list[str]] = {}
    whole: set[str] = set()
    for name in touched:
        kind, colon, _ = name.partition(":")
        if colon:
            by_kind.setdefault(kind, []).append(name)
        else:
            whole.add(kind.removesuffix("!"))
    whole.update(kind for kind, names in by_kind.items() if len(names) > limit)
    names = [f"{kind}!" for kind in sorted(whole)]
    for kind, keyed in by_kind.items():
        if kind not in whole:
            names.append(f"{kind}:*")
            names.extend(keyed)
    return names


def kinds_of(names: Iterable[str]) -> set[str]:
    """The kinds that ``names`` belong to."""
    return {name.partition(":")[0].rstrip("!") for name in names}


def _key_name(kind: str, key: object) -> str:
    """Numbers stand for themselves; texts, which clients choose, are hashed: 128 bits."""
    if isinstance(key, str) and key:
        return f"{kind}:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return f"{kind}:{key}"
