"""The committed schema is the served one."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command


def test_schema_graphql_is_up_to_date(settings):
    call_command("export_schema", "--check", path=settings.BASE_DIR / "schema.graphql")


def test_drift_is_found(tmp_path: Path):
    copy = tmp_path / "schema.graphql"
    call_command("export_schema", path=copy, verbosity=0)
    assert "type Note" in copy.read_text()
    copy.write_text(copy.read_text().replace("isPublic", "public"))
    with pytest.raises(CommandError, match="not up to date"):
        call_command("export_schema", "--check", path=copy)
