"""What the steps of a walk share: the person, the pictures, requests beside the browser."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.browser.person import Person
from tests.browser.servers import ROOT

PASSWORD = "correct horse battery"
SAVED = "document.querySelector('.status')?.innerText === 'Saved'"


class Steps:
    """Steps of one person through the application."""

    def __init__(self, person: Person, name: str, *, small: bool, mails: Path) -> None:
        self.person = person
        self.mails = mails  # a file that grows
        self.name = name
        self.small = small  # the window shows either the list or a note

    def look(self, view: str, *, picture: bool = True) -> None:
        """Let axe-core look at the view, and keep a picture."""
        self.person.check_accessibility(f"{self.name}, {view}")
        if picture:
            self.person.screenshot(ROOT / ".pcf" / f"app-{self.name}-{view}.png")

    def close(self) -> None:
        """Go back to the list, where it is covered."""
        if self.small:
            self.person.press("All notes")


def end_sessions(url: str, username: str) -> None:
    """End all sessions of a person, as the person would on another device."""
    token = log_in(url, username, PASSWORD)
    post(url, "mutation { logOutEverywhere { count } }", {}, f"Bearer {token}")


def log_in(url: str, username: str, password: str, device: str = "") -> str:
    """Log in on another device; return its access token."""
    given = {"username": username, "password": password, "device": device}
    query = "mutation($input: LogInInput!) { logIn(input: $input) { accessToken } }"
    token: str = post(url, query, {"input": given})["logIn"]["accessToken"]
    return token


def post(url: str, query: str, variables: dict[str, Any], authorization: str = "") -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    request = urllib.request.Request(url + "/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]
