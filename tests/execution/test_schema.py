"""Scalars name their specifications."""

import graphene

from pcf.execution.schema import SPECIFICATIONS, Schema


class Colour(graphene.Scalar):
    """A colour."""


class Query(graphene.ObjectType):
    at = graphene.DateTime()
    uuid = graphene.UUID()
    colour = graphene.Field(Colour)
    text = graphene.String()


def urls(schema):
    types = schema.graphql_schema.type_map
    return {name: types[name].specified_by_url for name in ("DateTime", "UUID", "Colour", "String")}


def test_the_scalars_of_graphene_have_urls():
    known = {name: SPECIFICATIONS[name] for name in ("DateTime", "UUID")}
    assert urls(Schema(query=Query)) == {**known, "Colour": None, "String": None}
    assert urls(graphene.Schema(query=Query))["DateTime"] is None


def test_a_project_names_more_of_them():
    more = {"Colour": "https://colours.example", "UUID": "https://other.example", "Query": "x"}
    found = urls(Schema(query=Query, specified_by=more))
    assert found == {
        "DateTime": SPECIFICATIONS["DateTime"],
        "UUID": "https://other.example",
        "Colour": "https://colours.example",
        "String": None,
    }


def test_clients_see_the_url():
    asked = '{ __type(name: "DateTime") { specifiedByURL } }'
    found = Schema(query=Query).execute(asked)
    assert found.data == {"__type": {"specifiedByURL": SPECIFICATIONS["DateTime"]}}
