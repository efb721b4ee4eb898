"""Tables that no app of this project has, with the triggers of their declarations."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models, transaction

from pcf.cache import outbox
from pcf.cache import triggers as declared
from pcf.cache.trigger_installation import install
from pcf.cache.trigger_sql import triggers


class Column(models.Field):
    """A column of any type."""

    def __init__(self, type_="text", **options):
        self.type = type_
        super().__init__(**options)

    def db_type(self, connection):
        return self.type

    def deconstruct(self):
        name, path, args, options = super().deconstruct()
        return name, path, args, options | {"type_": self.type}


class Tables:
    """Makes tables, and tells what a write to them touches."""

    def __init__(self) -> None:
        self._models: list[type[models.Model]] = []

    def create(self, *made: type[models.Model]) -> None:
        with connection.schema_editor() as editor:
            for model in made:
                editor.create_model(model)
                self._models.append(model)

    def touched(self, write: Callable[[], Any]) -> set[str]:
        """Run ``write`` in a transaction; return the names that it touches."""
        found = outbox.find(connection.connection)
        with transaction.atomic():
            write()
            taken = found.take(connection.connection)
        return set() if taken is None else set(taken.names)

    def drop(self) -> None:
        with connection.cursor() as cursor:
            for model in reversed(self._models):
                cursor.execute(f"DROP TABLE IF EXISTS {_quoted(model)} CASCADE")
            for trigger in triggers():
                cursor.execute(f"DROP FUNCTION IF EXISTS {trigger.function}()")
        self._models.clear()


def _quoted(model):
    return connection.ops.quote_name(model._meta.db_table)


@pytest.fixture
def tables(transactional_db, monkeypatch):
    """Tables of this test alone: declare what writes to them touch, then ``install_all()``."""
    monkeypatch.setattr(declared, "_declarations", {})
    made = Tables()
    yield made
    made.drop()


def install_all() -> list[str]:
    """Install the triggers of all declarations; return the tables."""
    return install("default")


def run_sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
