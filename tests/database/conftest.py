"""Separate connections for each test, with small pools and injected faults."""

import dataclasses
from itertools import count

import psycopg
import pytest
from django.db import connections

from pcf.database.backend.base import DatabaseWrapper
from tests.database.tcp_proxy import Proxy

_numbers = count()


def value_of(metric):
    """The value of a counter or gauge, or of one of its children."""
    return next(iter(metric.collect())).samples[0].value


@pytest.fixture
def unblocked(django_db_setup, django_db_blocker):
    """The test database without a transaction around the test."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def make_wrapper(unblocked):
    """Build wrappers on the test database; their pools are closed with the test."""
    wrappers = []

    def make(*, pool=None, options=None, alias=None, **changes):
        base = connections["default"].settings_dict
        merged = {**base["OPTIONS"], "pool": {"min_size": 1, "max_size": 1}, **(options or {})}
        if pool is not None:
            merged["pool"] = pool
        alias = alias or f"own-{next(_numbers)}"
        database = {**base, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True, **changes}
        wrapper = DatabaseWrapper({**database, "OPTIONS": merged}, alias=alias)
        connections[alias] = wrapper
        wrappers.append(wrapper)
        return wrapper

    yield make
    for wrapper in wrappers:
        wrapper.close()
        wrapper.close_pool()
        del connections[wrapper.alias]


@pytest.fixture
def wrapper(make_wrapper):
    """A wrapper whose pool holds exactly one connection."""
    return make_wrapper()


@pytest.fixture
def proxy(unblocked):
    """A proxy in front of the server of the test database."""
    base = connections["default"].settings_dict
    with Proxy(base["HOST"] or "127.0.0.1", int(base["PORT"] or 5432)) as running:
        yield running


@pytest.fixture
def proxied(proxy, make_wrapper):
    """A wrapper that reaches the server through ``proxy``."""
    wrapper = make_wrapper(HOST="127.0.0.1", PORT=proxy.port, options={"sslmode": "disable"})
    yield wrapper
    proxy.flowing.set()
    wrapper.close()


@pytest.fixture
def other(unblocked):
    """A plain psycopg connection to the same database, in autocommit mode."""
    params = connections["default"].get_connection_params()
    keys = ("dbname", "user", "password", "host", "port")
    chosen = {key: params[key] for key in keys if key in params}
    with psycopg.connect(**chosen, autocommit=True) as connection:
        yield connection


@pytest.fixture
def wait_for_end_of(other):
    """Wait until the server runs no statement with this text in it; fails after 20 s."""

    def wait(text):
        running = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE %s"
        )
        for _ in range(400):
            if other.execute(running, [f"%{text}%"]).fetchone() == (0,):
                return
            other.execute("SELECT pg_sleep(0.05)")
        raise AssertionError(f"the server still runs {text}")

    return wait


@pytest.fixture
def configure(settings):
    """Change fields of the engine's settings for the test: ``configure("timeouts", reserve=0)``."""

    def change(section, **values):
        new = dataclasses.replace(getattr(settings.PCF, section), **values)
        settings.PCF = dataclasses.replace(settings.PCF, **{section: new})

    return change


@pytest.fixture
def one():
    """Run a statement on a wrapper and give its first row back."""

    def run(wrapper, sql, params=None):
        with wrapper.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone() if cursor.description else None

    return run
