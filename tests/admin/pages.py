"""What a browser makes of the pages of the admin: the data that it sends for a form.

The rules are those of HTML for the values of controls and for the data set of a form.
"""

from html.parser import HTMLParser
from typing import Any

from django.test import Client

Data = dict[str, list[str]]


class Form(HTMLParser):
    """The controls of the forms of a page that are sent by POST, with their values."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.data: Data = {}
        self._post = False
        self._area: str | None = None
        self._text = ""
        self._select: str | None = None
        self.feed(html.replace("\r\n", "\n").replace("\r", "\n"))  # as every parser of HTML

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        name, value = given.get("name"), given.get("value") or ""
        if tag == "form":
            self._post = given.get("method") == "post" and "logout" not in given.get("action", "")
        if not self._post or "disabled" in given:
            return
        if tag == "textarea" and name:
            self._area, self._text = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and self._select:
            self.data.setdefault(self._select, []).append(value)
        elif tag == "input" and name:
            self._input(name, value, given)

    def _input(self, name: str, value: str, given: dict[str, Any]) -> None:
        kind = given.get("type", "text")
        if kind in {"submit", "button", "image", "reset", "file"}:
            return
        if kind in {"checkbox", "radio"}:
            if "checked" in given:
                self.data.setdefault(name, []).append(value or "on")
            return
        if kind != "hidden":
            value = value.replace("\n", "")
        if kind == "email":
            value = value.strip()
        self.data.setdefault(name, []).append(value)

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area is not None:
            self.data.setdefault(self._area, []).append(self._text.removeprefix("\n"))
            self._area = None
        elif tag == "select":
            self._select = None
        elif tag == "form":
            self._post = False


def form_of(response: Any) -> Data:
    """The data that a browser sends for the form of a page that nobody has edited."""
    data = Form(response.content.decode()).data
    data.pop("csrfmiddlewaretoken", None)
    return data


def opened(client: Client, url: str) -> Data:
    response = client.get(url)
    assert response.status_code == 200, response
    return form_of(response)


def send(client: Client, url: str, data: Data, **edits: Any) -> Any:
    """Send a form with edits, as a browser does: CRLF for each line break."""
    data = {
        **data,
        **{name: one if isinstance(one, list) else [one] for name, one in edits.items()},
    }
    lines = {
        name: [
            text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n") for text in all_
        ]
        for name, all_ in data.items()
    }
    return client.post(url, lines)
