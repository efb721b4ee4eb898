"""The filters that an app declares: on ids, texts, points in time, searches, relations."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import graphene
from django.db.models import BooleanField, Exists, F, Field, Func, Model, OuterRef, Q, Subquery

from pcf.database.compiled_queries import AnyOf
from pcf.database.fields import Fold, PrefixEnd
from pcf.database.key_types import field_of, key_type_of
from pcf.errors import InvalidArgument

MAX_VALUES = 100  # of one list
MAX_TEXT = 1_000  # characters of one value
MAX_ALL = 10  # values of a list that must all occur: each is a subquery


class Given(NamedTuple):
    """One operator of a filter with the value that a client has sent."""

    operator: str
    value: Any


@dataclass(frozen=True)
class Filter:
    """A filter on one field.

    Attributes:
        path: The path of the field.
        description: The description in the schema.
        columns: The fields whose change decides which rows match, as they stand in the kinds of
            dependencies. The default is the path.
        is_search: Whether rows have a relevance by the conditions of the filter.
    """

    is_search: ClassVar[bool] = False
    path: str
    description: str
    columns: tuple[str, ...] | None = None

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ()

    def decided_by(self, operator: str) -> tuple[str, ...]:
        """Return the fields whose change decides which rows match."""
        del operator
        return (self.path,) if self.columns is None else self.columns

    def input_type(self) -> Any:
        """Return the graphene type of the input."""
        raise AssertionError(f"{type(self).__name__} must define the type of its input")

    def inputs(self, given: Any) -> Iterator[Given]:
        """Yield the operators that the client has set."""
        for operator, value in given.items():
            if value is not None:
                yield Given(operator.rstrip("_"), value)

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the parameters of a condition; None when no row can match.

        Raises InvalidArgument.
        """
        del operator, model
        return [_as_parameter(value)]

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the condition in SQL."""
        raise AssertionError(
            f"{type(self).__name__} must define {operator} for {len(parameters)} parameters"
        )

    def dependencies(self, operator: str, value: Any) -> Iterable[tuple[str, tuple[Hashable, ...]]]:
        """Yield dependencies of a condition besides those on columns: a kind, and its keys."""
        del operator, value
        return ()

    def finds_keys(self, operator: str) -> bool:
        """Return whether a statement finds the keys of a page before it reads the rows.

        PostgreSQL then tests the condition on the entries of an index of the order, if the index
        includes all columns of the condition and of ``queryset``.
        """
        del operator
        return False


def _as_parameter(value: Any) -> Hashable:
    if isinstance(value, list):
        if len(value) > MAX_VALUES:
            raise InvalidArgument(f"a list in a filter may have {MAX_VALUES} values")
        return tuple(map(_as_parameter, dict.fromkeys(value)))
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise InvalidArgument(f"a text in a filter may have {MAX_TEXT} characters")
        if "\0" in value:
            raise InvalidArgument("a text in a filter cannot have the character NUL")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgument("a text in a filter must be valid Unicode") from None
    return value  # type: ignore[no-any-return]


class IDFilterInput(graphene.InputObjectType):
    """Conditions on an id."""

    class Meta:
        """The name in the schema."""

        name = "IDFilter"

    eq = graphene.ID(description="Is this id.")
    in_ = graphene.List(graphene.NonNull(graphene.ID), name="in", description="Is one of these.")


class IDFilter(Filter):
    """A filter on a key. An id that no row can have matches none."""

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("eq", "in")

    def input_type(self) -> Any:
        """Return the input with ``eq`` and ``in``."""
        return IDFilterInput

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the key, or the keys that rows can have."""
        key_type: Any = key_type_of(field_of(model, self.path))
        if operator == "eq":
            key = key_type.parse(_as_parameter(value))
            return None if key is None else [key]
        texts: Any = _as_parameter(value)
        return [tuple(key_type.parse_all(list(texts)))]

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the comparison."""
        (parameter,) = parameters
        if operator == "eq":
            return Q(**{self.path: parameter})
        return Q(AnyOf(self.path, parameter))


class BooleanFilter(Filter):
    """A filter on a Boolean field: the input is the value."""

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("true", "false")

    def input_type(self) -> Any:
        """Return Boolean."""
        return graphene.Boolean

    def inputs(self, given: Any) -> Iterator[Given]:
        """Yield the value as the operator: an index on ``is_public`` alone needs a constant."""
        yield Given("true" if given else "false", given)

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return no parameter."""
        del operator, value, model
        return []

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the comparison."""
        del parameters
        return Q(**{self.path: operator == "true"})


class DateTimeFilterInput(graphene.InputObjectType):
    """Conditions on a point in time."""

    class Meta:
        """The name in the schema."""

        name = "DateTimeFilter"

    gt = graphene.DateTime(description="Is later.")
    gte = graphene.DateTime(description="Is later or the same.")
    lt = graphene.DateTime(description="Is earlier.")
    lte = graphene.DateTime(description="Is earlier or the same.")


class DateTimeFilter(Filter):
    """A filter on a point in time."""

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("gt", "gte", "lt", "lte")

    def input_type(self) -> Any:
        """Return the input with ``gt``, ``gte``, ``lt`` and ``lte``."""
        return DateTimeFilterInput

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the point in time. Raises InvalidArgument for a time without a zone."""
        del operator, model
        if value.tzinfo is None:
            raise InvalidArgument(
                "a time in a filter needs a time zone, as in 2026-01-31T12:00:00Z"
            )
        return [value]

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the comparison."""
        return Q(**{f"{self.path}__{operator}": parameters[0]})


class StringFilterInput(graphene.InputObjectType):
    """Conditions on a text, without regard to case and accents."""

    class Meta:
        """The name in the schema."""

        name = "StringFilter"

    eq = graphene.String(description="Is this text.")
    in_ = graphene.List(
        graphene.NonNull(graphene.String), name="in", description="Is one of these texts."
    )
    contains = graphene.String(description="Has this text in it.")
    starts_with = graphene.String(description="Begins with this text.")


class _AnyFolded(Func):
    """``column = ANY(texts)``, with the texts folded."""

    output_field: "Field[Any, Any]" = BooleanField()

    def as_sql(self, compiler: Any, _connection: Any, **_: Any) -> tuple[str, Any]:  # type: ignore[override]
        """Return the condition and its parameters."""
        (column, left), (texts, right) = map(compiler.compile, self.get_source_expressions())
        chosen = f"SELECT pcf_fold(chosen) FROM unnest({texts}::text[]) AS chosen"  # noqa: S608
        return f"{column} = ANY(ARRAY({chosen}))", (*left, *right)


class StringFilter(Filter):
    """A filter on a text. ``path`` is a field of ``pcf.database.fields.folded``."""

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("eq", "in", "contains", "starts_with")

    def input_type(self) -> Any:
        """Return the input with ``eq``, ``in``, ``contains`` and ``startsWith``."""
        return StringFilterInput

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the text or the texts. Raises InvalidArgument for an empty part of a text."""
        if operator in {"contains", "starts_with"} and not value:
            raise InvalidArgument(f"a filter cannot look for an empty text ({operator})")
        return super().parse(operator, value, model)

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the comparison of folded texts."""
        (parameter,) = parameters
        if operator == "in":
            return Q(_AnyFolded(F(self.path), parameter))
        text = Fold(parameter)
        if operator == "eq":
            return Q(**{self.path: text})
        if operator == "starts_with":  # a range, which needs no constant to use an index
            return Q(**{f"{self.path}__gte": text, f"{self.path}__lt": PrefixEnd(text)})
        return Q(**{f"{self.path}__contains": text})  # Django escapes % and _

    def finds_keys(self, operator: str) -> bool:
        """Return True for parts of texts, which many rows may have."""
        return operator in {"contains", "starts_with"}


@dataclass(frozen=True)
class RelatedFilter(Filter):
    """A filter on the rows of a many-to-many relation: ``all``, ``any`` or ``none`` of a set.

    The input names the set by ids or by names. ``path`` is the relation itself.

    Attributes:
        name: The name of the related type: the input types are ``{name}Set``, ``{name}SetFilter``.
        through: The model with the links.
        link: The foreign key of ``through`` to the filtered rows.
        target: The foreign key of ``through`` to the related rows.
        by_name: The field of the related rows that holds their names.
        name_kind: The kind of dependencies for a name.
        copies: Pairs of a field of the filtered rows and a field of ``through`` that is always
            equal. PostgreSQL then reads ``all`` in the order of such a field, from an index of
            ``through`` that begins with ``target``.
    """

    name: str = ""
    through: type[Model] | None = None
    link: str = ""
    target: str = ""
    by_name: str = "name"
    name_kind: str = ""
    copies: tuple[tuple[str, str], ...] = ()

    def decided_by(self, operator: str) -> tuple[str, ...]:
        """Return the relation, and for ``all`` the fields with copies: the statement reads them."""
        copied = [name for name, _ in self.copies] if operator.startswith("all") else []
        return (*super().decided_by(operator), *copied)

    @property
    def model(self) -> type[Model]:
        """The model of the related rows."""
        return field_of(self.through, self.target).related_model  # type: ignore[arg-type, no-any-return]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, as conditions name them."""
        return ("any_ids", "any_names", "none_ids", "none_names", "all_ids", "all_names")

    def input_type(self) -> Any:
        """Return the input with ``all``, ``any`` and ``none``."""
        return self._input_type

    @cached_property
    def _input_type(self) -> Any:
        ids = graphene.List(graphene.NonNull(graphene.ID), description="By their ids.")
        names = graphene.List(graphene.NonNull(graphene.String), description="By their names.")
        described = f"A set of rows of {self.name}: exactly one field must be set."
        members = {"__doc__": described, "ids": ids, "names": names}
        one_of = type(f"{self.name}Set", (graphene.InputObjectType,), members)
        conditions = {
            "all": "Has all of these.", "any": "Has one of these.", "none": "Has none of these.",
        }  # fmt: skip
        fields = {
            operator: graphene.Field(one_of, description=text)
            for operator, text in conditions.items()
        }
        members = {"__doc__": f"Conditions on the related rows of {self.name}.", **fields}
        return type(f"{self.name}SetFilter", (graphene.InputObjectType,), members)

    def inputs(self, given: Any) -> Iterator[Given]:
        """Yield the operators, each with the way in which it names the set."""
        for operator, chosen in super().inputs(given):
            named = {way: values for way, values in chosen.items() if values is not None}
            if len(named) != 1:
                raise InvalidArgument(f"'{operator}' must have either 'ids' or 'names'")
            for way, values in named.items():
                yield Given(f"{operator}_{way}", values)

    def parse(self, operator: str, value: Any, model: type[Model]) -> list[Hashable] | None:
        """Return the keys or the names, each as a parameter for ``all``."""
        del model
        values: Any = _as_parameter(value)
        if operator.endswith("ids"):
            key_type: Any = key_type_of(field_of(self.through, self.target))  # type: ignore[arg-type]
            keys = tuple(key_type.parse_all(list(values)))
            if operator == "all_ids" and len(keys) < len(values):
                return None  # one of the ids is impossible
            values = keys
        if not operator.startswith("all"):
            return [values]
        if len(values) > MAX_ALL:
            raise InvalidArgument(f"'all' may have {MAX_ALL} values")
        return list(values)

    def condition(self, operator: str, parameters: Sequence[Any]) -> Q:
        """Return the condition as subqueries."""
        quantifier, way = operator.split("_")
        path = self.target if way == "ids" else f"{self.target}__{self.by_name}"
        links: Any = self.through._default_manager.filter(**{self.link: OuterRef("pk")})  # type: ignore[union-attr]  # noqa: SLF001
        if quantifier == "all":
            links = links.filter(**{copy: OuterRef(name) for name, copy in self.copies})
            every = Q()
            for parameter in parameters:
                every &= Q(Exists(links.filter(self._is(parameter, path))))
            return every
        some = Q(Exists(links.filter(AnyOf(path, parameters[0]))))
        return some if quantifier == "any" else ~some

    def _is(self, parameter: Any, path: str) -> Q:
        """Return the condition that a link leads to one related row, given by its id or its name.

        A subquery finds the row of a unique name. Then each ``EXISTS`` reads one table, where at
        most one link matches, and PostgreSQL joins the links in any order. It does not with a join
        inside of ``EXISTS``.
        """
        if path == self.target or not field_of(self.model, self.by_name).unique:
            return Q(**{path: parameter})
        named = self.model._default_manager.filter(**{self.by_name: parameter}).order_by()  # noqa: SLF001
        key = field_of(self.through, self.target).target_field.name  # type: ignore[arg-type]
        return Q(**{self.target: Subquery(named.values(key)[:1])})

    def dependencies(self, operator: str, value: Any) -> Iterable[tuple[str, tuple[Hashable, ...]]]:
        """Yield the names: another row may get one of them."""
        if operator.endswith("names"):
            yield self.name_kind, tuple(value)
