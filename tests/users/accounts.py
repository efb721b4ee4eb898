"""What the tests of accounts share: the mutations, and a person with a password."""

import json
import re
from typing import Any

from django.core import mail as outbox
from django.test import Client

from tests.conftest import make_user
from users import mail
from users.models import User

PASSWORD = "correct horse battery"
LOG_IN = """mutation ($input: LogInInput!) { answer: logIn(input: $input) {
  accessToken refreshToken expiresAt user { id } userErrors { field code message } } }"""
REFRESH = """mutation ($input: RefreshAccessInput!) { answer: refreshAccess(input: $input) {
  accessToken refreshToken expiresAt user { id } userErrors { field code } } }"""
LOG_OUT = "mutation { answer: logOut { userErrors { field code } } }"
LOG_OUT_EVERYWHERE = "mutation { answer: logOutEverywhere { count userErrors { field code } } }"
SIGN_UP = """mutation ($input: SignUpInput!) { answer: signUp(input: $input) {
  user { id name } userErrors { field code message } } }"""
CONFIRM = """mutation ($input: TokenInput!) { answer: confirmEmail(input: $input) {
  user { id } userErrors { field code } } }"""
REQUEST_RESET = """mutation ($input: RequestPasswordResetInput!) {
  answer: requestPasswordReset(input: $input) { userErrors { field code } } }"""
RESET = """mutation ($input: ResetPasswordInput!) { answer: resetPassword(input: $input) {
  user { id } userErrors { field code } } }"""
CHANGE = """mutation ($input: ChangePasswordInput!) { answer: changePassword(input: $input) {
  user { id } userErrors { field code } } }"""
ME = "{ me { id } }"


def person(name: str = "Ann", **fields: Any) -> User:
    """Return a user with the password ``PASSWORD``."""
    user = make_user(name, **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def run(ask: Any, mutation: str, token: str | None = None, /, **values: Any) -> dict[str, Any]:
    """Run a mutation with one root field, and return its payload."""
    answer: dict[str, Any] = ask(mutation, token, {"input": values} if values else None).data
    return answer["answer"]


def log_in(ask: Any, username: str = "ann", password: str = PASSWORD, **values: Any) -> Any:
    return run(ask, LOG_IN, username=username, password=password, **values)


def codes(payload: dict[str, Any]) -> list[tuple[str | None, str]]:
    """Return the fields and the codes of the user errors."""
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


def mails() -> list[Any]:
    """Return the mails that were sent, once they are."""
    mail.queue.flush()
    return outbox.outbox


def link(message: Any) -> str:
    """Return the token in the link of a mail."""
    return re.search(r"https://notes\.example\.org/#/[a-z-]+/(\S+)", message.body)[1]


class Browser:
    """A client that keeps cookies and sends what browsers send."""

    def __init__(self, **headers: str) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Sec-Fetch-Site": "same-origin", **headers}
        self.host = "testserver"

    def post(self, query: str, values: Any = None, **headers: str) -> Any:
        content = json.dumps({"query": query, "variables": {"input": values}})
        return self.client.post(
            "/graphql", content, content_type="application/json",
            headers={"Host": self.host, **self.headers, **headers},
        )  # fmt: skip
