"""Orders: the fields by which clients may sort a connection, and rows behind a cursor.

A list is always in a total order: the primary key decides between equal rows. So a page begins
behind the values of one row (keyset pagination), whether the row still exists or not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

import graphene
from django.db.models import BooleanField, F, Field, FloatField, Func, Q, Value
from django.db.models.expressions import Expression

from pcf.errors import InvalidArgument
from pcf.viewer import Viewer

MAX_TERMS = 3  # of an order, without the primary key
KEY_TERM = "ID"  # the order by primary key, which every set of orders has


class OrderDirection(graphene.Enum):
    """The direction of an order."""

    ASC = "ASC"
    DESC = "DESC"

    @property
    def description(self) -> str:
        """Describe the value in the schema."""
        return "From the smallest to the largest." if self.name == "ASC" else "The reverse."


class Term(NamedTuple):
    """One term of an order: a name of a set of orders, and the direction."""

    name: str
    descending: bool


Terms = tuple[Term, ...]


@dataclass(frozen=True)
class Order:
    """A field or an expression that clients may sort by. No value may be NULL.

    Attributes:
        by: The path of a field; or a function that takes the viewer and returns an expression. The
            order by relevance, RELEVANCE, has None.
        description: The description of the enum value in the schema.
        columns: The fields whose change moves a row, as they stand in the kinds of dependencies.
            The default is the path of the field.
        field: The type of an expression.
        is_indexed: Whether an index has to serve the order; ``manage.py check`` looks for it.
        not_null: Whether the conditions of the loaders exclude NULL, which the column allows.
    """

    by: str | Callable[[Viewer], Expression] | None
    description: str
    columns: tuple[str, ...] | None = None
    field: Any = None
    is_indexed: bool = True
    not_null: bool = False

    @property
    def needs_search(self) -> bool:
        """Whether the order exists for a list with a search alone."""
        return self.by is None

    @property
    def moved_by(self) -> tuple[str, ...]:
        """The fields whose change moves a row."""
        if self.columns is not None:
            return self.columns
        return (self.by,) if isinstance(self.by, str) and self.by != "pk" else ()


RELEVANCE = Order(
    None,
    "By relevance for the search of the filter. Of several, the first in the filter's type counts.",
    field=FloatField(),
    is_indexed=False,
)
"""The order by relevance. Its columns are those of the search."""


@dataclass(frozen=True, eq=False)
class OrderSet:
    """The orders of a type: the enum ``{name}OrderField`` and the input ``{name}Order``.

    ``default`` is the order of a list without ``orderBy``. The set always has the order ``ID``.
    """

    name: str
    orders: Mapping[str, Order]
    default: Terms
    all: Mapping[str, Order] = field(init=False)

    def __post_init__(self) -> None:
        by_key = Order("pk", "By primary key: the order in which rows were made.")
        object.__setattr__(self, "all", {KEY_TERM: by_key, **self.orders})

    @cached_property
    def input_type(self) -> type[graphene.InputObjectType]:
        """The input type of one term."""
        orders = self.all

        def describe(value: Any) -> str:
            if value is None:
                return f"A field of {self.name} to sort by."
            return orders[value.name].description

        names = Enum(f"{self.name}OrderField", {name: name for name in orders})  # type: ignore[misc]
        meta = type("Meta", (), {"enum": names, "description": describe})
        enum = type(f"{self.name}OrderField", (graphene.Enum,), {"Meta": meta})
        return type(
            f"{self.name}Order",
            (graphene.InputObjectType,),
            {
                "__doc__": f"One term of the order of a list of {self.name}.",
                "field": graphene.Field(enum, required=True, description="What to sort by."),
                "direction": graphene.Field(
                    OrderDirection,
                    required=True,
                    default_value=_value(OrderDirection.ASC),
                    description="The direction.",
                ),
            },
        )

    def parse(self, given: Sequence[Any] | None, *, has_search: bool) -> Terms:
        """Return the total order that the argument ``orderBy`` stands for.

        Raises InvalidArgument for too many terms, for a field that occurs twice, and for an order
        that needs a search.
        """
        terms = _parsed(given) if given else self.default
        if len(terms) > MAX_TERMS:
            raise InvalidArgument(f"'orderBy' must have {MAX_TERMS} terms at most")
        if len({term.name for term in terms}) < len(terms):
            raise InvalidArgument("'orderBy' must name each field once")
        for term in terms:
            if self.all[term.name].needs_search and not has_search:
                raise InvalidArgument(f"the order {term.name} needs 'search' in the filter")
        for position, term in enumerate(terms):
            if term.name == KEY_TERM:  # no two rows are equal: the terms behind decide nothing
                return terms[: position + 1]
        return (*terms, Term(KEY_TERM, terms[-1].descending))

    def columns_of(self, terms: Terms) -> list[str]:
        """Return the fields whose change moves a row in this order."""
        return [column for term in terms for column in self.all[term.name].moved_by]


def _parsed(given: Sequence[Any]) -> Terms:
    return tuple(Term(_value(each["field"]), _value(each["direction"]) == "DESC") for each in given)


def _value(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


class _RowComparison(Func):
    """``(a, b) > (x, y)``: PostgreSQL reads a comparison of rows from an index of these columns."""

    output_field: "Field[Any, Any]" = BooleanField()

    def __init__(self, names: Sequence[str], operator: str, values: Sequence[Any]) -> None:
        # Func takes a text for the name of a field.
        constants = (v if hasattr(v, "resolve_expression") else Value(v) for v in values)
        super().__init__(*map(F, names), *constants)
        self._operator = operator

    def as_sql(self, compiler: Any, _connection: Any, **_: Any) -> tuple[str, Any]:  # type: ignore[override]
        """Return the comparison and its parameters."""
        compiled = [compiler.compile(each) for each in self.get_source_expressions()]
        half = len(compiled) // 2
        left, right = (
            ", ".join(sql for sql, _ in side) for side in (compiled[:half], compiled[half:])
        )
        params = [param for _, each in compiled for param in each]
        return f"({left}) {self._operator} ({right})", params


def behind(
    names: Sequence[str], terms: Terms, values: Sequence[Any], *, reverse: bool = False
) -> Q:
    """Return the condition of the rows behind ``values`` in the order of ``terms``.

    ``names`` are the fields or annotations of the terms, ``values`` constants or expressions. With
    ``reverse`` the condition holds for all other rows: those before ``values``, and the row with
    these values.
    """
    operators = [
        (">" if term.descending == reverse else "<") + ("=" if reverse else "") for term in terms
    ]
    if len(set(operators)) == 1:
        return Q(_RowComparison(names, operators[0], values))
    strict = [operator[0] for operator in operators]
    condition = Q(_RowComparison(names[-1:], operators[-1], values[-1:]))
    for position in range(len(terms) - 2, -1, -1):
        name, value = names[position : position + 1], values[position : position + 1]
        decided = Q(_RowComparison(name, strict[position], value))
        equal = Q(_RowComparison(name, "=", value))
        condition = decided | (equal & condition)
    # the first term alone is a range that an index serves
    return Q(_RowComparison(names[:1], strict[0] + "=", values[:1])) & condition


def reversed_terms(terms: Terms) -> Terms:
    """Return the terms of the order backwards."""
    return tuple(Term(term.name, not term.descending) for term in terms)
