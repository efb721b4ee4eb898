"""DATABASE_REPLICA_URLS: the databases of its addresses, and refused addresses."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from pcf.conf.environment import replica_settings
from pcf.conf.sections import Config, ConfigError, ReplicaSettings

URLS = "postgres://a@one/pcf, postgres://b@two:5433/pcf"


def made(monkeypatch, urls):
    monkeypatch.setenv("DATABASE_REPLICA_URLS", urls)
    return replica_settings(Config(replicas=ReplicaSettings(check_timeout=3.0)), threads=4)


def test_every_address_is_a_database_whose_pool_waits_briefly(monkeypatch):
    databases = made(monkeypatch, URLS)
    assert {alias: it["HOST"] for alias, it in databases.items()} == {
        "replica-1": "one",
        "replica-2": "two",
    }
    for database in databases.values():
        assert database["ENGINE"] == "pcf.database.backend"
        assert database["OPTIONS"]["replica"] is True
        assert database["OPTIONS"]["connect_timeout"] == 3
        assert database["OPTIONS"]["pool"]["timeout"] == 3.0
        assert database["OPTIONS"]["pool"]["max_size"] >= 4


@pytest.mark.parametrize("nothing", ["", " ", ","])
def test_no_address_is_no_replica(monkeypatch, nothing):
    assert made(monkeypatch, nothing) == {}


def test_another_database_is_refused(monkeypatch):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_REPLICA_URLS"):
        made(monkeypatch, "mysql://a@one/pcf")


@pytest.mark.parametrize(
    "wrong", [{"check_interval": 0.0}, {"check_timeout": -1.0}, {"max_lag": 0.0}]
)
def test_values_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match="replicas"):
        ReplicaSettings(**wrong)


def test_a_check_interval_above_the_lag_is_refused():
    with pytest.raises(ConfigError, match="max_lag"):
        ReplicaSettings(check_interval=4.0, check_timeout=2.0, max_lag=5.0)
