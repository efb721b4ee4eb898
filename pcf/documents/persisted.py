"""Persisted documents: a request names a document instead of sending it.

*Automatic* ones are registered by clients: hash and text once, from then on the hash alone
(Apollo's protocol, ``extensions.persistedQuery``). *Trusted* ones come from a manifest that the
client's build wrote; in the mode ``only`` nothing else is answered.

https://www.apollographql.com/docs/apollo-server/performance/apq
https://github.com/graphql/graphql-over-http, Appendix A: ``documentId``, ``sha256:`` + hash
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Protocol

from pcf.documents.document import Document
from pcf.documents.store import DocumentStore
from pcf.errors import ClientError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class PersistedNotFound(ClientError):
    """The hash alone is not enough: the client is to send the text along, once."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedNotSupported(ClientError):
    """Clients cannot register documents here; they are to send the text."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"


class HashMismatch(ClientError):
    """The hash is not the text's: nobody may give a text another text's name."""

    code = "PERSISTED_QUERY_HASH_MISMATCH"


class NotTrusted(ClientError):
    """Only the documents of the manifest are answered here."""

    code = "DOCUMENT_NOT_TRUSTED"


class SharedTexts(Protocol):
    """Where the processes of the service keep the texts that clients have registered."""

    def get(self, digest: str) -> str | None:
        """The text with this SHA-256 (hexadecimal); None when it is unknown or cannot be had."""

    def put(self, digest: str, text: str) -> None:
        """Keep a text for all processes; without effect when that is not possible now."""


class PersistedDocuments:
    """Finds the document that a request means, by text or by name.

    ``mode`` is ``off``, ``automatic`` or ``only``; ``manifest`` are the trusted documents, text by
    id, and is heeded in every mode. When the shared texts cannot be had, hashes that this process
    does not know are not found, and clients send the text again.
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

    def find(self, text: str, name: str | None) -> Document:
        """The document with ``text``, or with ``name`` when the text is empty.

        Raises InvalidDocument, and one of this module's errors when the name is no use.
        """
        if not text and name is not None:
            return self._named(name)
        if self._mode == "only" and text not in self._trusted:
            raise NotTrusted("Only the documents of the manifest are answered here")
        if name is None:
            return self._documents.get(text)
        digest = _sha256(text)
        if name != digest:
            raise HashMismatch("The hash is not the SHA-256 of the document")
        document = self._documents.get(text)  # only what is valid may be registered
        if self._mode == "automatic":
            self._shared.put(digest, text)
        return document

    def _named(self, name: str) -> Document:
        text = self._manifest.get(name)
        if text is not None:
            return self._documents.get(text)
        if self._mode == "only":
            raise NotTrusted("The manifest has no such document")
        if self._mode == "off":
            raise PersistedNotSupported("PersistedQueryNotSupported")
        text = None
        if _DIGEST.fullmatch(name):
            text = self._documents.text_of(name) or self._shared.get(name)
        if text is None or _sha256(text) != name:
            raise PersistedNotFound("PersistedQueryNotFound")
        return self._documents.get(text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
