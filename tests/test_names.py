"""Rules that hold for every file of pcf/: names, sizes, and private attributes of other packages.

The pages that lead to files name files that exist.

Each rule has a list of exceptions. Remove an exception when the code no longer needs it.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PCF = Path(__file__).resolve().parents[1] / "pcf"
FILES = sorted(path for path in PCF.rglob("*.py") if "migrations" not in path.parts)
OUTSIDE_COMPAT = [path for path in FILES if "_compat" not in path.parts]
MAX_LINES = 400

# Django expects a class of this name in many modules.
DJANGO_NAMES = {"Command", "Meta"}
# Underscored names that Django and the standard library document.
DOCUMENTED = {
    "_meta", "_base_manager", "_default_manager",  # django.db.models
    "_replace", "_asdict", "_fields", "_make",  # collections.namedtuple
    "_exit",  # os
    "_current_frames",  # sys
}  # fmt: skip

SAME_CLASS_NAMES: set[str] = set()
LONG_FILES: set[str] = set()
PRIVATE_NAMES: set[str] = set()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def defined_names(module: ast.AST) -> set[str]:
    """The underscored names that the module defines: functions, classes, variables, attributes."""
    found: set[str] = set()
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                found |= {it.value for it in ast.walk(value) if isinstance(it, ast.Constant)}
    return found


DEFINED_IN_PCF = set().union(*(defined_names(tree(path)) for path in FILES))


def foreign_privates(path: Path) -> Iterator[str]:
    """The private names of other packages that a file imports or reads, with their lines."""
    module = tree(path)
    own = defined_names(module)
    for node in ast.walk(module):
        match node:
            case ast.Import(names=aliases):
                names = [part for alias in aliases for part in alias.name.split(".")]
                foreign = aliases[0].name.split(".")[0] != "pcf"
            case ast.ImportFrom(module=source, names=aliases, level=0):
                names = [*str(source).split("."), *(alias.name for alias in aliases)]
                foreign = names[0] != "pcf"
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                names, foreign = [name], name not in DEFINED_IN_PCF | own
            case ast.Attribute(attr=name):
                names, foreign = [name], name not in own
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ):
                names, foreign = [name], name not in own
            case _:
                continue
        if foreign:
            yield from (f"{name} (line {node.lineno})" for name in names if is_private(name))


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path.relative_to(PCF)}:{node.lineno}")
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert {n: w for n, w in shared.items() if n not in DJANGO_NAMES | SAME_CLASS_NAMES} == {}


def test_no_file_is_too_long():
    lengths = {str(path.relative_to(PCF)): len(path.read_text().splitlines()) for path in FILES}
    long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert {name: lines for name, lines in long.items() if name not in LONG_FILES} == {}


def test_only_compat_touches_private_names_of_other_packages():
    found = {
        str(path.relative_to(PCF)): private
        for path in OUTSIDE_COMPAT
        if (private := [it for it in foreign_privates(path) if it.split()[0] not in PRIVATE_NAMES])
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from redis._parsers import Parser", ["_parsers (line 1)"]),
        ("import redis._parsers", ["_parsers (line 1)"]),
        ("from redis.client import _private", ["_private (line 1)"]),
        ("from pcf.x import _private", []),
        ("connection._sock_of_redis.close()", ["_sock_of_redis (line 1)"]),
        ("getattr(sys, '_base_executable', None)", ["_base_executable (line 1)"]),
        ("self._not_defined_anywhere", ["_not_defined_anywhere (line 1)"]),
        ("class A:\n  def __init__(self):\n    self._x_ = 1\n  def same(self, o): o._x_", []),
        ("class A:\n  __slots__ = ('_y_',)\na._y_", []),
        ("note._meta.db_table", []),
        ("x.__class__", []),
    ],
)
def test_private_names_of_other_packages_are_found(tmp_path, text, found):
    path = tmp_path / "module.py"
    path.write_text(text)
    assert list(foreign_privates(path)) == found


def test_the_lock_file_of_npm_has_no_address():
    """``npm install`` adds addresses of sponsors; nothing needs them."""
    assert "://" not in (PCF.parent / "tests/clients/package-lock.json").read_text()


PAGES = [
    "README.md", "docs/architecture.md", "docs/development.md", "docs/operations.md",
    "docs/guide/how-a-read-works.md", "docs/guide/how-a-write-works.md",
]  # fmt: skip
NAMED_FILE = re.compile(
    r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|toml|sh|html|css|js|graphql|lua|ya?ml|txt))`"
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_that_exist(page: str) -> None:
    root = PCF.parent
    named = NAMED_FILE.findall((root / page).read_text())
    assert [name for name in named if not (root / name).exists()] == []


NAME = r"`[\w.@*-]+(?:\([^`]*\))?`(?: \([^()]*\))?"
NAMES_OF_FILE = re.compile(
    rf"((?:{NAME}(?:, and |, | and | of ))*{NAME}) in `([\w.-]+(?:/[\w.-]+)+\.\w+)`"
)


def test_the_map_names_what_its_files_hold() -> None:
    """Each name that stands before a file: ``a``, ``b`` and ``c`` of ``D`` in ``file``."""
    root = PCF.parent
    missing = []
    for names, file in NAMES_OF_FILE.findall((root / "docs/architecture.md").read_text()):
        text = (root / file).read_text()
        for name in re.findall(r"`([\w.]+)", re.sub(r" \([^()]*\)", "", names)):
            words = [] if "..." in name or name.endswith(".py") else name.strip(".").split(".")
            missing += [(file, word) for word in words if not re.search(rf"\b{word}\b", text)]
    assert missing == []
