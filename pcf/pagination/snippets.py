"""Snippets: where a search was found in the text of a row."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar

from django.contrib.postgres.search import SearchHeadline
from django.db.models import F, Func, QuerySet, TextField, Value

from pcf.database.compiled_queries import AnyOf, Parameter
from pcf.database.fields import SearchText
from pcf.execution.row_loaders import OWN_ANNOTATION, RowLoader
from pcf.pagination.filters import Condition, FilterSet
from pcf.viewer import Viewer

_SNIPPET = f"{OWN_ANNOTATION}snippet"
_START, _STOP = "\x02", "\x03"  # around what was found
# PostgreSQL's parser takes long for some texts with these characters (``SearchText``), so others
# stand for them until the snippet is made. The text itself loses the others.
_CHARACTERS, _SUBSTITUTES = "_@/~<", "\x04\x05\x06\x07\x08"
_ORIGINALS = str.maketrans(_SUBSTITUTES, _CHARACTERS)
_OPTIONS: dict[str, Any] = {
    "start_sel": _START, "stop_sel": _STOP, "max_fragments": 2, "max_words": 24, "min_words": 8,
    "fragment_delimiter": " … ",
}  # fmt: skip


class SnippetLoader(RowLoader):
    """A loader of snippets by the primary keys of rows.

    Attributes:
        filters: The filters with the search.
        texts: The fields that are searched, in the order in which the snippet shows them.
    """

    filters: ClassVar[FilterSet]
    texts: ClassVar[tuple[str, ...]]
    sql_constants = ("search",)

    @classmethod
    def build(cls, viewer: Viewer, arguments: Mapping[str, Any]) -> "QuerySet[Any, Any]":
        """Return the rows with their snippets."""
        search: Condition = arguments["search"]
        each: Any = cls.filters.filters[search.name]
        query = each.query(search.operator, arguments[search.parameters[0]])
        headline = SearchHeadline(_plain(cls.texts), query, config=each.config, **_OPTIONS)
        rows: QuerySet[Any, Any] = cls.queryset(viewer).filter(AnyOf("pk", Parameter("keys")))
        rows = rows.annotate(**{_SNIPPET: headline})
        return rows.order_by()

    def _select_columns(self, queryset: "QuerySet[Any, Any]", using: str) -> "QuerySet[Any, Any]":
        return queryset.using(using).values_list("pk", _SNIPPET)

    def load_batch(self, keys: Sequence[Any]) -> Mapping[Any, str]:
        """Return the snippets as HTML."""
        rows = self._fetch(keys)
        return self._as_asked(keys, {row[0]: _as_html(row[1]) for row in rows})


def _plain(texts: Sequence[str]) -> Any:
    """Return the texts as one, without the characters that have a meaning here."""
    between = Value(" \N{MIDDLE DOT} ")
    whole = Func(between, *map(F, texts), function="concat_ws", output_field=TextField())
    replaced = Value(_CHARACTERS + _SUBSTITUTES + _START + _STOP)
    substitutes = Value(_SUBSTITUTES)  # the characters behind the first five are removed
    plain = Func(whole, replaced, substitutes, function="translate", output_field=TextField())
    return SearchText(plain)


def _as_html(snippet: str) -> str:
    return escape(snippet.translate(_ORIGINALS)).replace(_START, "<mark>").replace(_STOP, "</mark>")
