"""The documents that a process remembers."""

from collections import OrderedDict
from threading import Lock
from time import perf_counter

from graphql import GraphQLSchema

from pcf import metrics
from pcf.config import Documents
from pcf.documents.document import Document, InvalidDocument, prepare


class DocumentStore:
    """A bounded LRU of valid documents by their text, shared by the threads of a process.

    Documents that are not valid are not remembered: a client that sends many of them cannot push
    out the good ones.
    """

    def __init__(self, schema: GraphQLSchema, limits: Documents) -> None:
        self._schema = schema
        self._limits = limits
        self._documents: OrderedDict[str, Document] = OrderedDict()
        self._texts: dict[str, str] = {}  # of the same documents, by digest
        self._lock = Lock()
        self._known = metrics.documents.labels("known")

    def get(self, text: str) -> Document:
        """The document of this text, prepared now when it is new.

        Raises InvalidDocument. Two threads that bring the same new text may both prepare it.
        """
        with self._lock:
            document = self._documents.get(text)
            if document is not None:
                self._documents.move_to_end(text)
        if document is not None:
            self._known.inc()
            return document
        started = perf_counter()
        try:
            document = prepare(self._schema, text, self._limits)
        except InvalidDocument:
            metrics.documents.labels("refused").inc()
            raise
        finally:
            metrics.document_duration.observe(perf_counter() - started)
        metrics.documents.labels("prepared").inc()
        with self._lock:
            self._documents[text] = document
            self._texts[document.digest.hex()] = text
            while len(self._documents) > self._limits.remembered:
                _, oldest = self._documents.popitem(last=False)
                del self._texts[oldest.digest.hex()]
        return document

    def text_of(self, digest: str) -> str | None:
        """The text with this SHA-256 (hexadecimal), if its document is remembered."""
        return self._texts.get(digest)

    def __len__(self) -> int:
        return len(self._documents)
