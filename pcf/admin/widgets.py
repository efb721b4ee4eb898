"""Widgets of the admin."""

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.widgets import (
    AutocompleteMixin,
    AutocompleteSelect,
    AutocompleteSelectMultiple,
)

from pcf.admin.site import is_key


class KnownKeys(AutocompleteMixin):
    """A mixin for Django's widgets with completions: it shows no option for what is no key.

    Django's widgets look every value up, and PostgreSQL refuses values of another type.
    """

    def optgroups(self, name: str, value: Sequence[Any], attrs: Any = None) -> Any:
        """Return Django's groups for the values that can be keys."""
        relation = self.field.remote_field
        name_of_key = getattr(relation, "field_name", None) or relation.model._meta.pk.name  # noqa: SLF001
        key = relation.model._meta.get_field(name_of_key)  # noqa: SLF001
        keys = [item for item in value if item in {None, ""} or is_key(key, item)]
        return super().optgroups(name, keys, attrs)


class CompletedSelect(KnownKeys, AutocompleteSelect):
    """The widget of a foreign key."""


class CompletedSelectMultiple(KnownKeys, AutocompleteSelectMultiple):
    """The widget of a relation to many rows."""
