"""Reading a manifest of trusted documents, in the formats that common client tools write.

* ``{"ID": "TEXT"}``: Relay's ``persistConfig.file``, graphql-codegen's ``persistedDocuments``
* ``{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id", "body"}]}``:
  Apollo's ``generate-persisted-query-manifest``
* ``{"ID": {"source": "TEXT"}}``: Apollo Kotlin's ``operationOutput.json``
"""

from pathlib import Path
from typing import Any

import orjson

from pcf.config import ConfigError

APOLLO = "apollo-persisted-query-manifest"
PREFIX = "sha256:"  # of ids in the words of GraphQL over HTTP; left out, so that both ways match


def load_manifest(path: str) -> dict[str, str]:
    """The texts by their ids; none without a path.

    Raises ConfigError when the file cannot be read or is in none of the formats.
    """
    if not path:
        return {}
    try:
        content = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        message = f"persisted.manifest: {path} cannot be read: {error.strerror}"
        raise ConfigError(message) from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"persisted.manifest: {path} is not JSON: {error}") from error
    texts = {str(name).removeprefix(PREFIX): text for name, text in _entries(content)}
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise ConfigError(f"persisted.manifest: {path} is in no known format, or empty")
    return texts


def _entries(content: Any) -> list[tuple[Any, Any]]:
    if not isinstance(content, dict):
        return []
    if content.get("format") == APOLLO:
        operations = content.get("operations")
        if content.get("version") != 1 or not isinstance(operations, list):
            return []
        return [
            (entry.get("id"), entry.get("body")) if isinstance(entry, dict) else (None, None)
            for entry in operations
        ]
    return [
        (name, value.get("source") if isinstance(value, dict) else value)
        for name, value in content.items()
    ]
