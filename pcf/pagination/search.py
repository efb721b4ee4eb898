"""Full text search: the filter, and the relevance of rows."""

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import graphene
from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import F, Model, Q, TextField, Value
from django.db.models.expressions import Expression

from pcf.database.compiled_queries import Parameter, Placeholder
from pcf.database.fields import SearchText
from pcf.pagination.filter_types import Filter, Given

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
            text = Value(parameter)
        if operator == "prefix":
            return SearchQuery(text, config=self.config, search_type="raw")
        return SearchQuery(SearchText(text), config=self.config, search_type="websearch")

    def rank(self, operator: str, parameter: Any) -> Expression:
        """Return the relevance of a row."""
        rank: Expression = SearchRank(F(self.path), self.query(operator, parameter))
        return rank


def web_query(text: str) -> str:
    """Return ``text`` without all but the last of several minus signs that no word is between.

    PostgreSQL reads each as a negation of the next one, and fails at more than about 30.
    """
    return _REPEATED_MINUS.sub("", text)


def prefix_query(text: str) -> str:
    """Return the text of a tsquery for all words of ``text``, the last one as a prefix."""
    words = _WORD.findall(text)
    return " & ".join([f"'{word}'" for word in words[:-1]] + [f"'{word}':*" for word in words[-1:]])
