"""A server that starts before PostgreSQL does."""

import threading

import pytest

from pcf.database import pool
from pcf.database.pool import wait_for_database


def test_a_database_that_answers_is_not_logged(wrapper, caplog):
    assert wait_for_database(5, using=wrapper.alias)
    assert caplog.messages == []


def test_the_start_waits_for_a_database_that_comes_later(proxied, proxy, caplog):
    proxy.refusing = True
    threading.Timer(0.5, setattr, (proxy, "refusing", False)).start()
    assert wait_for_database(30, using=proxied.alias)
    assert caplog.messages[0].startswith("waiting for PostgreSQL (0 of 30 s): connection")
    assert caplog.messages[-1].startswith("PostgreSQL 1")
    assert len(caplog.messages) == 2


@pytest.mark.blocks("starting", at_least=0.1, within=5)
def test_the_wait_ends_and_logs_the_error(proxied, proxy, caplog, monkeypatch):
    monkeypatch.setattr(pool, "LOG_INTERVAL", 0.2)
    proxy.refusing = True
    assert not wait_for_database(0.8, using=proxied.alias)
    assert caplog.messages[-1].startswith("PostgreSQL did not answer within 0.8 s: connection")
    assert len(caplog.messages) >= 2


def test_pools_larger_than_max_connections_are_logged(wrapper, caplog):
    assert wait_for_database(5, using=wrapper.alias, wanted=100_000)
    assert caplog.messages[0].startswith("the pools may want 100000 connections")
