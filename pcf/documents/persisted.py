"""Persisted documents: those that clients register by hash, and those of a trusted manifest.

A manifest is a JSON file in one of these formats of common client tools:

* ``{"ID": "TEXT"}``: Relay's ``persistConfig.file``, graphql-codegen's ``persistedDocuments``
* ``{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id", "body"}]}``:
  Apollo's ``generate-persisted-query-manifest``
* ``{"ID": {"source": "TEXT"}}``: Apollo Kotlin's ``operationOutput.json``
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from pcf.cache import scripts
from pcf.cache.redis_gateway import CacheUnavailable, RedisGateway
from pcf.conf import config
from pcf.conf.sections import ConfigError
from pcf.documents.document import Document, DocumentStore
from pcf.errors import ClientError

APOLLO_FORMAT = "apollo-persisted-query-manifest"
HASH_PREFIX = "sha256:"  # of document ids in GraphQL over HTTP; ids match with and without it


def load_manifest(path: str) -> dict[str, str]:
    """Return the texts of the manifest at ``path`` by their ids; no texts for an empty path.

    Raises ConfigError for a file that PCF cannot read, or that has none of the formats.
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
    texts = {str(name).removeprefix(HASH_PREFIX): text for name, text in _entries(content)}
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise ConfigError(f"persisted.manifest: {path} is in no known format, or empty")
    return texts


def _entries(content: Any) -> list[tuple[Any, Any]]:
    if not isinstance(content, dict):
        return []
    if content.get("format") == APOLLO_FORMAT:
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


_DIGEST = re.compile(r"[0-9a-f]{64}")


class PersistedNotFound(ClientError):
    """The service does not know the hash. The client has to send the text with it once."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedNotSupported(ClientError):
    """The service does not let clients register documents. The client has to send the text."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"


class HashMismatch(ClientError):
    """The hash is not the SHA-256 of the text."""

    code = "PERSISTED_QUERY_HASH_MISMATCH"


class NotTrusted(ClientError):
    """The service executes only the documents of its manifest."""

    code = "DOCUMENT_NOT_TRUSTED"


class SharedTexts(Protocol):
    """The texts that clients have registered, shared by all processes of the service."""

    def get(self, digest: str) -> str | None:
        """Return the text with this SHA-256 (hexadecimal).

        Returns None for an unknown digest, and when the store is unavailable.
        """

    def put(self, digest: str, text: str, client: str) -> None:
        """Keep a text that ``client`` registers, for all processes.

        Do nothing when the store is unavailable, or has no room for more texts of the client.
        """


class PersistedStore:
    """Texts of documents by their SHA-256: ``persisted.max_documents`` of them at most.

    They have ``persisted.max_bytes`` together, and ``max_client_bytes`` of one client.

    When Redis fails, ``get`` finds nothing and ``put`` keeps nothing: clients then send the texts
    again.
    """

    def __init__(self, gateway: RedisGateway) -> None:
        self._gateway = gateway

    def get(self, digest: str) -> str | None:
        """Return the text and keep it for another ``persisted.ttl``; None when it is not there."""
        settings = config()
        arguments = scripts.GetDocumentArguments(
            settings.cache.prefix, digest, settings.persisted.ttl
        )
        try:
            text = self._gateway.run(scripts.GET_DOCUMENT, arguments)
        except CacheUnavailable:
            return None
        return text.decode("utf-8", "surrogatepass") if text else None

    def put(self, digest: str, text: str, client: str) -> None:
        """Keep ``text``, which ``client`` registers, for ``persisted.ttl`` seconds.

        Beyond the limit, the texts that no client has used for the longest time are removed.
        """
        limits = config().persisted
        encoded = text.encode("utf-8", "surrogatepass")
        arguments = scripts.PutDocumentArguments(
            config().cache.prefix,
            digest,
            limits.ttl,
            encoded,
            limits.max_documents,
            limits.max_bytes,
            client,
            limits.max_client_bytes,
        )
        try:
            self._gateway.run(scripts.PUT_DOCUMENT, arguments)
        except CacheUnavailable:
            return


class PersistedDocuments:
    """The documents that a request can name by text, by hash or by an id of the manifest.

    ``mode`` is ``off``, ``automatic`` or ``only``. ``manifest`` holds the trusted documents, texts
    by ids; they are available in every mode. When the shared texts are unavailable, this process
    finds only the hashes that it knows itself. For any other hash it raises PersistedNotFound, and
    the client sends the text again.
    """

    def __init__(
        self,
        documents: DocumentStore,
        shared: SharedTexts,
        manifest: Mapping[str, str],
        mode: str,
    ) -> None:
        self._documents = documents
        self._shared = shared
        self._manifest = manifest
        self._mode = mode
        self._trusted = frozenset(manifest.values())

    def find(self, text: str, document_id: str | None) -> Document:
        """Return the document with ``text``; with ``document_id`` when the text is empty.

        A text with an id is not registered yet: see ``register``.
        Raises InvalidDocument, and the errors of this module for an unusable id.
        """
        if not text and document_id is not None:
            return self._find_by_id(document_id)
        if self._mode == "only" and text not in self._trusted:
            raise NotTrusted("Only the documents of the manifest are answered here")
        if document_id is None:
            return self._documents.get(text)
        if document_id != _sha256(text):
            raise HashMismatch("The hash is not the SHA-256 of the document")
        return self._documents.get(text)

    def known(self, text: str, document_id: str | None) -> Document | None:
        """Return the document that ``find`` would return, if this process knows it already.

        Never waits. Returns None where ``find`` might raise an error.
        """
        if not text and document_id is not None:
            trusted = self._manifest.get(document_id)
            if trusted is None and self._mode == "automatic":
                return self._documents.by_digest(document_id)
            return None if trusted is None else self._documents.known(trusted)
        if document_id is not None or (self._mode == "only" and text not in self._trusted):
            return None
        return self._documents.known(text)

    def keep(self, document: Document) -> None:
        """Note that a request uses ``document``, so that this process does not drop it soon."""
        self._documents.by_digest(document.digest.hex())

    def register(self, document: Document, client: str) -> None:
        """Register a document that the service has answered without an error, for ``client``."""
        if self._mode == "automatic":
            self._shared.put(document.digest.hex(), document.text, client)

    def _find_by_id(self, document_id: str) -> Document:
        text = self._manifest.get(document_id)
        if text is not None:
            return self._documents.get(text)
        if self._mode == "only":
            raise NotTrusted("The manifest has no such document")
        if self._mode == "off":
            raise PersistedNotSupported("PersistedQueryNotSupported")
        text = None
        if _DIGEST.fullmatch(document_id):
            known = self._documents.by_digest(document_id)
            text = known.text if known is not None else self._shared.get(document_id)
        if text is None or _sha256(text) != document_id:
            raise PersistedNotFound("PersistedQueryNotFound")
        return self._documents.get(text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
