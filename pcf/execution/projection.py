"""Which columns of their models the loaders of an operation have to fetch.

A loader is asked from several edges of an operation and remembers what it has, so it fetches what
all of them need together. An edge's objects need the columns of their leaf fields, the keys of the
edges that lead on from them, and what their resolvers declare (``pcf.execution.rows.needs``). Where
that is not known for all fields, or something is no column, the loader delivers model instances.
"""

from collections.abc import Iterable, Mapping

from django.db.models import Model
from graphene_django import DjangoObjectType
from graphql import GraphQLObjectType, GraphQLSchema, is_object_type

from pcf.execution.loaders import find_loader
from pcf.execution.plan import FieldPlan, Kind, Read, Shape
from pcf.execution.rows import Columns, key_of


def loader_columns(schema: GraphQLSchema, fields: Iterable[FieldPlan]) -> Mapping[str, Columns]:
    """Columns by the names of loaders; one that is missing has to deliver instances."""
    needed: dict[str, set[str] | None] = {}
    waiting = list(fields)
    while waiting:
        field = waiting.pop()
        shape = _innermost(field.shape)
        if shape.kind is Kind.LEAF:
            continue
        if shape.kind is Kind.OBJECT:
            possible: Iterable[GraphQLObjectType] = [shape.type]
        else:
            possible = schema.get_possible_types(shape.type)
        for object_type in possible:
            waiting += field.selections.of(object_type)
        for loader in field.edge.loaders if field.edge is not None else ():
            _add(needed, loader, _columns_of(field, shape, loader))
    return {name: tuple(sorted(columns)) for name, columns in needed.items() if columns is not None}


def _innermost(shape: Shape) -> Shape:
    while shape.item is not None:
        shape = shape.item
    return shape


def _add(needed: dict[str, set[str] | None], loader: str, columns: set[str] | None) -> None:
    """All edges of a loader together; one that needs instances decides for all."""
    known = needed.get(loader, set())
    needed[loader] = None if known is None or columns is None else known | columns


def _columns_of(field: FieldPlan, shape: Shape, loader: str) -> set[str] | None:
    """What the objects behind an edge have to have, None for instances."""
    model = find_loader(loader).model
    if model is None or not _takes_rows(shape.type, model):
        return None
    columns = {key_of(model)}
    for selected in field.selections.of(shape.type):
        needs = _needs(selected)
        if needs is None:
            return None
        columns.update(key_of(model) if name == "pk" else name for name in needs)
    known = {column.attname for column in model._meta.concrete_fields}  # noqa: SLF001
    return columns if columns <= known else None


def _takes_rows(object_type: GraphQLObjectType, model: type[Model]) -> bool:
    """Whether a row is good enough for an object of this type.

    A type that has its own ``is_type_of`` may want to see an instance.
    """
    graphene_type = getattr(object_type, "graphene_type", None)
    if not is_object_type(object_type) or graphene_type is None:
        return False
    function = getattr(object_type.is_type_of, "__func__", None)
    if function is not DjangoObjectType.is_type_of.__func__:
        return False
    return graphene_type._meta.model is model  # noqa: SLF001


def _needs(field: FieldPlan) -> Iterable[str] | None:
    """The attributes of its parent that a field reads, None when nobody knows."""
    match field.read:
        case Read.TYPENAME:
            return ()
        case Read.ATTRIBUTE:
            return (field.attribute,)
        case Read.EDGE:
            return field.edge.columns if field.edge is not None else None
        case Read.RESOLVER:
            declared: Columns | None = getattr(field.resolve, "columns", None)
            return declared
