"""How dependencies are called in Redis: see ``scripts``."""

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
    names: list[str] = []
    for kind, keys in dependencies.items():
        if kind in dependencies.kinds or len(keys) > limit:
            names.append(f"{kind}!")
        else:
            names.append(f"{kind}:*")
            names.extend(_key_name(kind, key) for key in keys)
    known = {kind for kind, _ in dependencies.items()}
    names.extend(f"{kind}!" for kind in dependencies.kinds - known)
    return names


def _key_name(kind: str, key: object) -> str:
    """Numbers stand for themselves; texts, which clients choose, are hashed: 128 bits."""
    if isinstance(key, str) and key:
        return f"{kind}:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return f"{kind}:{key}"
