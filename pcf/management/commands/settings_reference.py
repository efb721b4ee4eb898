"""``manage.py settings_reference``: the page of all settings, made from the code."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from pcf.conf.environment import DJANGO_VARIABLES, SERVER_VARIABLES, Variable
from pcf.conf.sections import Config

PATH = Path("docs/reference/settings.md")
TYPES = {tuple[str, ...]: "names"}
HEADER = """# Settings

`manage.py settings_reference --write` makes this page from `pcf/conf` and the settings module;
`make check` compares them.

Every setting of the engine is an environment variable. A settings module may set other defaults:
`PCF = engine_config(cache={"default_ttl": 60})`. The environment wins. The service does not start
with a wrong value, nor with an unknown variable that begins with `PCF_`. [Some settings of the
apps](#without-a-variable) have no variable.

Some values belong in the environment, because the databases, the caches and gunicorn's settings are
made before a project's `PCF`: `pool`, `cache.prefix`, `timeouts.cache`, `timeouts.http`,
`database.shared_sessions`, `replicas.check_timeout` and `documents.max_body_bytes`.

`pcf.conf.production` replaces the project's `PCF`. A production module with values of its own makes
its `PCF` after the import:
`PCF = engine_config(**PRODUCTION_SECTIONS, cache={"default_ttl": 60})`.

A variable of the type *names* holds texts between commas. For each variable but gunicorn's,
`NAME_FILE` may name a file with the value instead.
"""


class Command(BaseCommand):
    help = "Print the reference of all settings; --check only says whether the page is up to date."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail when the page differs")
        parser.add_argument("--write", action="store_true", help="write the page")
        parser.add_argument("--path", type=Path, default=PATH, help="the page (%(default)s)")

    def handle(self, *_args: Any, check: bool, write: bool, path: Path, **_options: Any) -> None:
        text = reference()
        if check:
            if not path.exists() or path.read_text() != text:
                raise CommandError(
                    f"{path} is not up to date: run manage.py settings_reference --write"
                )
        elif write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            self.stdout.write(f"{path} written")
        else:
            self.stdout.write(text, ending="")


def reference() -> str:
    """Return the page as Markdown."""
    parts = [
        HEADER,
        "## Django and the addresses of servers\n",
        _table(DJANGO_VARIABLES),
        "## gunicorn\n",
        _table(SERVER_VARIABLES),
        "## Without a variable\n",
        f"{_without_variable()}\n",
        "## The engine\n",
    ]
    for section in dataclasses.fields(Config):
        kind: Any = section.default_factory
        parts += [f"### {section.name}\n", f"{_folded(inspect.getdoc(kind) or '')}\n"]
        parts.append(_table(_settings(section.name, kind)))
    return "\n".join(parts)


def settings_without_variable() -> list[str]:
    """Return the settings of apps that the settings module sets and no variable does.

    The name of such a setting begins with the label of its app.
    """
    labels = [it.label for it in apps.get_app_configs() if not it.name.startswith("django.")]
    prefixes = tuple(f"{label.upper()}_" for label in labels)
    variables = {it.name for it in DJANGO_VARIABLES}
    return [
        name
        for name in sorted(set(dir(settings)) - variables)
        if name.startswith(prefixes) and settings.is_overridden(name)
    ]


def _without_variable() -> str:
    names = ", ".join(f"`{name}`" for name in settings_without_variable())
    text = (
        f"Only the settings module sets these settings of apps: {names or 'none'}. It also sets "
        "the settings of Django that no table here has. This project sets both in "
        "`settings/base.py`."
    )
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _settings(section: str, kind: Any) -> Iterator[Variable]:
    """Yield the settings of one section. Raises CommandError when one has no documentation."""
    documented = field_docstrings(kind)
    for field in dataclasses.fields(kind):
        name = f"PCF_{section}_{field.name}".upper()
        if field.name not in documented:
            raise CommandError(f"{name} has no documentation in {kind.__module__}")
        annotation: Any = field.type
        type_name = TYPES.get(annotation) or annotation.__name__
        yield Variable(name, type_name, _default(field.default), documented[field.name])


def field_docstrings(kind: type) -> dict[str, str]:
    """Return the strings that stand below the fields of a dataclass, by the fields' names."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _folded(text)
    return found


def _table(variables: Iterable[Variable]) -> str:
    rows = [
        f"| `{it.name}` | {it.type} | {it.default} | {it.meaning.replace('|', chr(92) + '|')} |"
        for it in variables
    ]
    return "\n".join(["| variable | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _default(value: Any) -> str:
    """Return a default as a person would write it in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _folded(text: str) -> str:
    """Return ``text`` in one line a paragraph."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
