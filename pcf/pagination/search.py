"""Full text search: the filter, the relevance of rows, and snippets of their texts."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import graphene
from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank
from django.db.models import F, Func, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import Expression

from pcf.database.compiled_queries import AnyOf, Parameter, Placeholder
from pcf.database.fields import SearchText
from pcf.execution.row_loaders import OWN_ANNOTATION, RowLoader
from pcf.pagination.filter_types import Filter, Given
from pcf.pagination.filters import Condition, FilterSet
from pcf.viewer import Viewer

_REPEATED_MINUS = re.compile(r'-(?=(?:[^\w"]|_)*-)')
# the longest word, because PostgreSQL's parser takes long for some long texts (``SearchText``)
_WORD = re.compile(r"[^\W_]{1,64}")


@dataclass(frozen=True)
class SearchFilter(Filter):
    """A full text search. ``path`` is a SearchVectorField; the input is the text of the search.

    Attributes:
        config: The name of the text search configuration.
        prefix: Whether the last word of the input may be the beginning of a word. All words must
            occur then. Without it the text has the syntax of web searches.
    """

    is_search: ClassVar[bool] = True
    config: str = "simple"
    prefix: bool = False

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("prefix",) if self.prefix else ("web",)

    def input_type(self) -> Any:
        """Return String."""
        return graphene.String

    def inputs(self, given: Any) -> Iterator[Given]:
        """Yield the text."""
        yield Given("prefix" if self.prefix else "web", given)

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the text, as PostgreSQL's function for the operator reads it."""
        (text,) = super().parse(operator, value, model) or ("",)
        return [prefix_query(str(text)) if self.prefix else web_query(str(text))]

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the match of the vector."""
        return Q(**{self.path: self.query(operator, parameters[0])})

    def query(self, operator: str, parameter: Any) -> SearchQuery:
        """Return the query of PostgreSQL for the text."""
        if isinstance(parameter, Parameter):  # Django hashes an expression that orders rows
            text: Any = Placeholder(parameter.name, TextField())
        else:
            text = parameter if isinstance(parameter, Value) else Value(parameter)
        if operator == "prefix":
            return SearchQuery(text, config=self.config, search_type="raw")
        return SearchQuery(SearchText(text), config=self.config, search_type="websearch")

    def rank(self, operator: str, parameter: Any) -> Expression:
        """Return the relevance of a row."""
        rank: Expression = SearchRank(F(self.path), self.query(operator, parameter))
        return rank


def web_query(text: str) -> str:
    """Return ``text`` with one minus sign in the place of several without a word between them.

    PostgreSQL reads each as a negation of the next one, and fails at more than about 30.
    """
    return _REPEATED_MINUS.sub("", text)


def prefix_query(text: str) -> str:
    """Return the text of a tsquery for all words of ``text``, the last one as a prefix."""
    words = _WORD.findall(text)
    return " & ".join([f"'{word}'" for word in words[:-1]] + [f"'{word}':*" for word in words[-1:]])


# --- snippets: where a search was found in the text of a row

_SNIPPET = f"{OWN_ANNOTATION}snippet"
_START, _STOP = "\x02", "\x03"  # around what was found
# PostgreSQL's parser takes long for some texts with these characters (``SearchText``). Substitutes
# stand for them until the snippet is made. Substitutes in the text itself are removed before.
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

    def has_own_plans(self) -> bool:
        """Return False: the search chooses no rows, the keys do."""
        return False

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
