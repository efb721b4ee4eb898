"""Light rows: the columns an operation needs of a model, without the model's instances.

A row has its columns as attributes and nothing else. To touch one that was not fetched is an
AttributeError, never another statement.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, TypeVar

from django.db.models import Model

Columns = tuple[str, ...]
Resolver = TypeVar("Resolver", bound=Callable[..., Any])

MAX_ROW_CLASSES = 1_000


class Row(tuple[Any, ...]):
    """The base of all classes of rows: a tuple in the order of its columns.

    ``readers`` read a column of a row faster than its attribute does.
    """

    __slots__ = ()
    model: ClassVar[type[Model]]
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]]


@lru_cache(maxsize=MAX_ROW_CLASSES)
def row_class(model: type[Model], columns: Columns) -> type[Row]:
    """The class of rows of ``model`` with these columns (``attname``: ``author_id``)."""
    readers = {name: itemgetter(index) for index, name in enumerate(columns)}
    primary_key = key_of(model)
    if primary_key in readers:
        readers["pk"] = readers[primary_key]
    attributes = {name: property(reader) for name, reader in readers.items()}
    members = {"__slots__": (), "model": model, "readers": readers, **attributes}
    return type(f"{model.__name__}Row", (Row,), members)


def key_of(model: type[Model]) -> str:
    """The column of the primary key."""
    return model._meta.pk.attname  # noqa: SLF001 - Django's documented API


def needs(*columns: str) -> Callable[[Resolver], Resolver]:
    """Declare which columns of its parent a resolver reads; it then may be given a light row.

    A resolver that does not declare it gets the model's instance.
    """

    def declare(resolver: Resolver) -> Resolver:
        resolver.columns = columns  # type: ignore[attr-defined]
        return resolver

    return declare
