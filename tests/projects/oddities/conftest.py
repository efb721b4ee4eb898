"""What the checks share: a cache of their own, and a GraphQL client."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django_redis import get_redis_connection

_numbers = count(1)


@pytest.fixture(autouse=True)
def own_cache(settings: Any) -> None:
    """Every check has a cache prefix of its own."""
    cache = replace(settings.PCF.cache, prefix=f"{settings.PCF.cache.prefix}-{next(_numbers)}")
    settings.PCF = replace(settings.PCF, cache=cache)


@pytest.fixture(scope="session", autouse=True)
def _leave_redis_clean() -> Iterator[None]:
    prefix = django_settings.PCF.cache.prefix
    yield
    client = get_redis_connection("default")
    for name in client.scan_iter(match=f"{prefix}*", count=1_000):
        client.unlink(name)


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content: dict[str, Any]
    cache_status: str

    @property
    def data(self) -> Any:
        assert "errors" not in self.content, self.content["errors"]
        return self.content["data"]

    @property
    def is_hit(self) -> bool:
        return self.cache_status == "pcf; hit"


Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Ask:
    """``ask(query, variables, token, stored=True)``: without ``stored`` the cache is passed by."""
    client = Client(raise_request_exception=False)

    def post(
        query: str, variables: Any = None, token: str | None = None, *, stored: bool = True
    ) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if not stored:
            headers["Cache-Control"] = "no-store"
        response = client.post(
            "/graphql",
            json.dumps({"query": query, "variables": variables}),
            content_type="application/json",
            headers=headers,
        )
        return Answer(
            response.status_code, response.json(), response.headers.get("Cache-Status", "")
        )

    return post
