"""Fields and widgets of forms: exact texts, rows with their labels, keys that a row can have."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import (
    AdminTextareaWidget,
    AutocompleteMixin,
    AutocompleteSelect,
    AutocompleteSelectMultiple,
)
from django.contrib.auth.forms import UsernameField
from django.core.exceptions import ValidationError

from pcf.admin.site import is_key, label_of

_NOT_SHOWN = object()


def normalised(text: str) -> str:
    """Return ``text`` with LF as its line breaks. Browsers send CRLF for each line break."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class ExactCharField(forms.CharField):
    """A field of text that keeps what it shows.

    The field keeps spaces at both ends. Line breaks become LF before the field counts characters.
    A text that the client sends back unchanged stays as it is stored, with its own line breaks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored: Any = _NOT_SHOWN
        self.strip = False
        # browsers count UTF-16 units, PostgreSQL and Python count characters
        self.widget.attrs.pop("maxlength", None)

    def show(self, stored: Any, given: Any) -> None:
        """Set the text that the form shows, and the text of the request, each may be None.

        An ``<input>`` loses line breaks, so a text with line breaks gets a ``<textarea>``.
        """
        self._stored = stored
        texts = [text for text in (stored, given) if isinstance(text, str)]
        broken = any("\n" in text or "\r" in text for text in texts)
        if broken and not isinstance(self.widget, forms.Textarea):
            self.widget = AdminTextareaWidget(attrs={"rows": 3})
            self.widget.is_required = self.required

    def to_python(self, value: Any) -> Any:
        """Return the text with LF as its line breaks."""
        text = super().to_python(value)
        return normalised(text) if isinstance(text, str) else text

    def clean(self, value: Any) -> Any:
        """Return the stored text if ``value`` shows it, else the valid text."""
        if self._stored is not _NOT_SHOWN and self.to_python(value) == self.to_python(self._stored):
            return self._stored
        return super().clean(value)

    def validate(self, value: Any) -> None:
        """Raise ValidationError for a blank text where a text is required."""
        super().validate(value)
        if self.required and isinstance(value, str) and not value.strip():
            raise ValidationError(self.error_messages["required"], code="required")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether ``data`` is another text than ``initial``."""
        changed: bool = super().has_changed(self.to_python(initial), data)
        return changed


class ExactEmailField(ExactCharField, forms.EmailField):
    """An e-mail address. Browsers remove the spaces around it."""

    def to_python(self, value: Any) -> Any:
        """Return the address without spaces at its ends."""
        text = super().to_python(value)
        return text.strip() if isinstance(text, str) else text


class ExactUsernameField(ExactCharField, UsernameField):
    """A user name in NFKC, as Django's. A stored name that nobody changes stays as it is."""


class LabelledChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A field that shows rows with the labels of completions."""

    pages: Any = None

    def label_from_instance(self, obj: Any) -> str:
        """Return the label of a row."""
        return label_of(self.pages, obj)


# --- widgets


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
