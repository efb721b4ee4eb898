"""The schema of a project: graphene's, whose scalars name their specifications."""

from collections.abc import Mapping
from typing import Any

import graphene
from graphql import GraphQLScalarType

# Where the formats of graphene's scalars are specified.
SPECIFICATIONS = {
    "Date": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "DateTime": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "Time": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    "UUID": "https://datatracker.ietf.org/doc/html/rfc9562",
    "JSONString": "https://datatracker.ietf.org/doc/html/rfc8259",
}


class Schema(graphene.Schema):
    """A graphene Schema whose scalars have ``specifiedByURL`` (specification section 3.5.6).

    Args:
        specified_by: More URLs, by the names of the scalars, or others in the place of
            SPECIFICATIONS.
        options: The arguments of ``graphene.Schema``.
    """

    def __init__(self, *, specified_by: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        for name, url in {**SPECIFICATIONS, **(specified_by or {})}.items():
            scalar = self.graphql_schema.type_map.get(name)
            if isinstance(scalar, GraphQLScalarType):
                scalar.specified_by_url = url
