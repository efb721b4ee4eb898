"""The schema in the repository equals the schema that the service has in production."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from graphql import GraphQLScalarType, GraphQLSchema, build_schema, is_specified_scalar_type

from pcf.project.schema import graphql_service, schema, schema_with_diagnostics

SCHEMAS = [schema.graphql_schema, schema_with_diagnostics.graphql_schema]


def test_schema_graphql_is_up_to_date(settings):
    call_command("export_schema", "--check", path=settings.BASE_DIR / "schema.graphql")


def test_drift_is_found(tmp_path: Path):
    copy = tmp_path / "schema.graphql"
    call_command("export_schema", path=copy, verbosity=0)
    assert "type Note" in copy.read_text()
    copy.write_text(copy.read_text().replace("isPublic", "public"))
    with pytest.raises(CommandError, match="not up to date"):
        call_command("export_schema", "--check", path=copy)


def without_description(found: GraphQLSchema) -> Iterator[str]:
    """Yield the name of each part of a schema that has no description."""
    for name, type_ in found.type_map.items():
        parts: dict[str, Any] = {name: type_}
        for kind in ("fields", "values"):
            for key, part in getattr(type_, kind, {}).items():
                parts[f"{name}.{key}"] = part
                for given, argument in getattr(part, "args", {}).items():
                    parts[f"{name}.{key}({given})"] = argument
        if not name.startswith("__"):
            yield from (name for name, part in parts.items() if not part.description)


@pytest.mark.parametrize("found", SCHEMAS)
def test_everything_has_a_description(found):
    assert list(without_description(found)) == []


def test_a_part_without_a_description_is_found():
    text = """
    "The root." type Query { "A." a: Int b("C." c: Int, d: I): E }
    input I { "F." f: Int g: Int } "An enum." enum E { "H." H J }
    """
    names = ["Query.b", "Query.b(d)", "I", "I.g", "E.J"]
    assert sorted(without_description(build_schema(text))) == sorted(names)


@pytest.mark.parametrize("found", SCHEMAS)
def test_every_scalar_of_the_project_names_its_specification(found):
    scalars = [type_ for type_ in found.type_map.values() if isinstance(type_, GraphQLScalarType)]
    own = [type_ for type_ in scalars if not is_specified_scalar_type(type_)]
    assert {type_.name: type_.specified_by_url for type_ in own} == {
        "DateTime": "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6"
    }


def test_only_other_environments_have_the_field_that_tries_out_deadlines(
    settings, db, fresh_service, ask
):
    assert "slowQuery" not in schema.graphql_schema.query_type.fields
    text = "{ slowQuery(delay: 0) }"
    assert ask(text).data == {"slowQuery": 0.0}
    features = replace(settings.PCF.features, slow_query=False)
    settings.PCF = replace(settings.PCF, features=features)
    graphql_service.cache_clear()
    assert ask(text).codes == ["GRAPHQL_VALIDATION_FAILED"]
