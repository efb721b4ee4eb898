"""The columns that the loaders of an operation have to fetch, for light rows."""

from collections.abc import Iterable, Iterator, Mapping

from graphql import GraphQLSchema

from pcf.execution.loaders import find_loader
from pcf.execution.plan import FieldPlan, Resolution
from pcf.execution.rows import Columns, primary_key_of, raw_columns, type_of_rows
from pcf.execution.schema import TypeKind


def loader_columns(schema: GraphQLSchema, fields: Iterable[FieldPlan]) -> Mapping[str, Columns]:
    """Return the columns that each loader has to fetch for ``fields`` and all fields below them.

    The result lacks the loaders that have to return instances.
    """
    needed: dict[str, set[str] | None] = {}
    for field in all_fields(fields):
        for loader in field.edge.loaders if field.edge is not None else ():
            _add_columns(needed, loader, _columns_behind(schema, field, loader))
    return {name: tuple(sorted(columns)) for name, columns in needed.items() if columns is not None}


def all_fields(fields: Iterable[FieldPlan]) -> Iterator[FieldPlan]:
    """Yield ``fields`` and all fields below them, for each object type that is possible."""
    remaining = list(fields)
    while remaining:
        field = remaining.pop()
        yield field
        output_type = field.output_type.innermost
        if output_type.kind is not TypeKind.LEAF:
            remaining += field.selections.of_any(output_type.type)


def _add_columns(needed: dict[str, set[str] | None], loader: str, columns: set[str] | None) -> None:
    """Add the columns of one edge. One edge that needs instances decides for the whole loader."""
    known = needed.get(loader, set())
    needed[loader] = None if known is None or columns is None else known | columns


def _columns_behind(schema: GraphQLSchema, field: FieldPlan, loader: str) -> set[str] | None:
    """Return the columns that an edge needs of its loader; None when it needs instances."""
    model = find_loader(loader).model
    if model is None:
        return None
    primary_key = primary_key_of(model)
    columns = {primary_key}
    for row_field in _row_fields(field):
        object_type = type_of_rows(schema, row_field.output_type.innermost.type, model)
        if object_type is None:
            return None
        for selected in row_field.selections.of(object_type):
            attributes = _attributes_read_by(selected)
            if attributes is None:
                return None
            columns.update(primary_key if name == "pk" else name for name in attributes)
    return columns if columns <= raw_columns(model) else None


def _row_fields(field: FieldPlan) -> Iterator[FieldPlan]:
    """Yield the fields at and below an edge whose values are the rows of its loader."""
    for path in field.edge.row_paths if field.edge is not None else ():
        found = [field]
        for name in path:
            found = [
                below
                for each in found
                for below in each.selections.of(each.output_type.innermost.type)
                if below.nodes[0].name.value == name
            ]
        yield from found


def _attributes_read_by(field: FieldPlan) -> Iterable[str] | None:
    """Return the attributes of its parent that a field reads; None when they are unknown."""
    match field.resolution:
        case Resolution.TYPENAME:
            return ()
        case Resolution.ATTRIBUTE:
            return (field.attribute,)
        case Resolution.NODE_ID:
            return ("pk",)
        case Resolution.EDGE:
            return field.edge.columns if field.edge is not None else None
        case Resolution.RESOLVER:
            declared: Columns | None = getattr(field.resolve, "columns", None)
            return declared
