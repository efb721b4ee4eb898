"""Names in Redis: those of dependencies, of entries and of tokens (see ``pcf.cache.scripts``).

A dependency has the keys ``P:g:<name>`` and ``P:d:<name>``. ``kind:key`` names one key. ``kind!``
and ``kind:*`` name the kind as a whole. A reader of single keys and a write to the whole kind share
``kind!``. A reader of the whole kind and a write to single keys share ``kind:*``. A key is spelled
by the type of the field that a ``Touch`` of the kind names (``pcf.database.key_types``), as the
triggers spell it.

An entry has the key ``P:e:<name>``, with the ``entry_name`` of its viewer and request.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pcf.cache.triggers import key_type_of_kind
from pcf.database.key_types import KeyType, ListKey, UnspelledKey
from pcf.execution.dependencies import WHOLE, Dependencies, Whole
from pcf.viewer import Viewer

SHARED_NAME = "shared"  # the viewer's part in names of responses that are the same for all viewers


def read_names(dependencies: Dependencies, limit: int) -> list[str]:
    """Return the names by which an entry with these dependencies is fenced and listed.

    With more than ``limit`` dependencies, the kinds with the most keys are named as a whole: any
    write to a key of theirs removes the entry. So is a kind whose keys have no spelling.
    """
    by_kind = sorted(dependencies.items(), key=lambda item: len(item[1]))
    names: list[str] = []
    for kind, keys in by_kind:
        names.append(f"{kind}!")
        of_kind = None
        if len(names) + len(keys) <= limit:
            of_kind = _key_names(kind, keys, dependencies.key_types.get(kind))
        names += [f"{kind}:*"] if of_kind is None else of_kind
    return names


def write_names(dependencies: Dependencies, limit: int) -> list[str]:
    """Return the names whose generations a write advances.

    A kind with more than ``limit`` keys, or whose keys have no spelling, is named as a whole.
    """
    touched = [f"{kind}!" for kind in dependencies.kinds]
    for kind, keys in dependencies.items():
        of_kind = _key_names(kind, keys)
        touched += [f"{kind}!"] if of_kind is None else of_kind
    return complete(touched, limit)


def complete(touched: Iterable[str], limit: int) -> list[str]:
    """Return the same for names as the outbox has them: ``kind:key`` and ``kind!``."""
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
    for kind, of_kind in by_kind.items():
        if kind not in whole:
            names.append(f"{kind}:*")
            names.extend(of_kind)
    return names


def kinds_of(names: Iterable[str]) -> set[str]:
    """Return the kinds that ``names`` belong to."""
    return {name.partition(":")[0].rstrip("!") for name in names}


def viewer_name(viewer: str) -> str:
    """Return the name that all entries of a viewer share, whatever the scope of the token.

    ``viewer`` is the viewer's ``id_name``.
    """
    return f"viewer:{viewer}"


def _key_names(
    kind: str, keys: set[Any], key_types: set[type[KeyType]] | None = None
) -> list[str] | None:
    """Return the names of keys; None when only the whole kind can stand for them.

    ``key_types`` are those that the readers of the keys know. The triggers spell by the type of the
    field that a Touch names, which may be another.
    """
    declared = key_type_of_kind(kind)
    if declared is None:
        return [f"{kind}:{text}" for text in _UNDECLARED.spell_all(keys)]
    if isinstance(declared, UnspelledKey) or (key_types and key_types != {type(declared)}):
        return None
    if WHOLE in keys and not isinstance(declared, ListKey) and _has_whole(keys):
        return None
    return [f"{kind}:{text}" for text in declared.spell_all(keys)]


def _has_whole(keys: set[Any]) -> bool:
    """Return whether WHOLE is one of ``keys``, and not the empty text, which is equal to it."""
    return any(isinstance(key, Whole) for key in keys)


_UNDECLARED = ListKey()


def request_digest(
    fingerprint: bytes, document: bytes, operation_name: str | None, variables: Mapping[str, Any],
    locale: str = "",
) -> str:  # fmt: skip
    """Return the part of a response's name that does not depend on the viewer.

    ``fingerprint`` is the digest of the schema and of the triggers, ``document`` that of the
    document's text. ``locale`` is the language and the time zone (``pcf.viewer``). Variables are
    compared as canonical JSON: 1, 1.0 and "1" differ. Raises TypeError for variables that are no
    JSON.
    """
    key = hashlib.sha256(fingerprint)
    key.update(document)
    key.update((operation_name or "").encode("utf-8", "surrogatepass"))
    key.update(b"\0")
    if locale:
        key.update(locale.encode("utf-8", "surrogatepass") + b"\0")
    if variables:
        key.update(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS))
    return _as_text(key.digest())


def token_digest(text: str) -> str:
    """Return the name of a token in Redis, which never gets the token itself."""
    key = b"pcf-viewer\0" + text.encode("utf-8", "surrogatepass")
    return _as_text(hashlib.sha256(key).digest())


def _as_text(digest: bytes) -> str:
    """Return 192 bits of ``digest`` as text.

    So names of entries stay below 64 bytes. Up to 64 bytes, Redis keeps a small sorted set in one
    piece, which takes a third of the memory.
    """
    return urlsafe_b64encode(digest[:24]).decode()


def entry_name(viewer: Viewer, digest: str, *, shared: bool) -> str:
    """Return the name of a response in Redis."""
    return f"{SHARED_NAME if shared else viewer.name}:{digest}"
