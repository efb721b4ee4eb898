"""The documents of the notes application fit the schema; its guide quotes its code."""

import re
from pathlib import Path

import pytest
from graphql import parse, validate

from pcf.project.schema import schema

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "web" / "static" / "web"
GUIDE = ROOT / "docs" / "guide" / "build-a-front-end.md"
PIECES = dict(
    re.findall(
        r"(?:export )?const (\w+) = gql`(.*?)`;", (FOLDER / "queries.js").read_text(), re.DOTALL
    )
)
OPERATIONS = [name for name, text in PIECES.items() if not text.strip().startswith("fragment")]


def document(name: str) -> str:
    """Return the text of a document, with the fragments that it names."""
    return re.sub(r"\$\{(\w+)\}", lambda found: PIECES[found[1]], PIECES[name])


def blocks(language: str) -> list[str]:
    """Return the code blocks of the guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", OPERATIONS)
def test_document_fits_the_schema(name):
    assert validate(schema.graphql_schema, parse(document(name))) == []


def test_every_document_is_sent():
    scripts = "".join(path.read_text() for path in FOLDER.glob("*.js") if path.name != "queries.js")
    scripts = re.sub(r"^import .*", "", scripts, flags=re.MULTILINE)

    assert [name for name in OPERATIONS if not re.search(rf"\b{name}\b", scripts)] == []


@pytest.mark.parametrize("code", blocks("js"), ids=lambda code: code.splitlines()[0])
def test_guide_quotes_the_application(code):
    scripts = "\n".join(path.read_text() for path in FOLDER.glob("*.js"))

    for piece in code.strip("\n").split("\n\n"):
        assert piece in scripts


@pytest.mark.parametrize("code", blocks("graphql"), ids=lambda code: code.split("{")[0].strip())
def test_operations_of_the_guide_fit_the_schema(code):
    assert validate(schema.graphql_schema, parse(code)) == []
