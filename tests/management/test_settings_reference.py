"""The page of all settings is made from the code, and documents every variable."""

import re
from dataclasses import dataclass, fields
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from pcf.conf.environment import DJANGO_VARIABLES, SERVER_VARIABLES
from pcf.conf.sections import Config, RequestSettings
from pcf.management.commands.settings_reference import (
    field_docstrings,
    settings_without_variable,
)


def test_the_page_is_up_to_date(settings):
    page = settings.BASE_DIR / "docs" / "reference" / "settings.md"
    call_command("settings_reference", "--check", path=page)


def test_drift_is_found(tmp_path):
    page = tmp_path / "reference" / "settings.md"
    call_command("settings_reference", "--write", path=page, stdout=StringIO())
    call_command("settings_reference", "--check", path=page)
    page.write_text(page.read_text().replace("30.0", "31.0"))
    with pytest.raises(CommandError, match="not up to date"):
        call_command("settings_reference", "--check", path=page)


def test_a_missing_page_is_found(tmp_path):
    with pytest.raises(CommandError, match="not up to date"):
        call_command("settings_reference", "--check", path=tmp_path / "settings.md")


def test_the_page_has_a_row_for_every_variable():
    printed = StringIO()
    call_command("settings_reference", stdout=printed)
    wanted = [it.name for it in (*DJANGO_VARIABLES, *SERVER_VARIABLES)]
    for section in fields(Config):
        wanted += [
            f"PCF_{section.name}_{it.name}".upper() for it in fields(section.default_factory)
        ]
    rows = [line for line in printed.getvalue().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == wanted
    assert all(row.rsplit("|", 2)[1].strip().endswith(".") for row in rows)


def test_the_page_names_the_settings_of_apps_that_have_no_variable(settings):
    settings.NOTES_OF_A_TEST = 1
    names = settings_without_variable()
    assert {"NOTES_OF_A_TEST", "NOTES_TRASH_DAYS", "USERS_SESSION_LIFETIME"} <= set(names)
    assert not {"USERS_SIGN_UP", "AXES_ENABLED", "AUTH_USER_MODEL"} & set(names)
    printed = StringIO()
    call_command("settings_reference", stdout=printed)
    assert "`NOTES_OF_A_TEST`" in printed.getvalue()


@pytest.mark.parametrize("name", ["development", "production"])
def test_the_page_names_the_cookies_of_this_project(settings, name):
    module = (settings.BASE_DIR / "settings" / f"{name}.py").read_text()
    (cookie,) = re.findall(r'"session_cookie": "(.*?)"', module)
    assert f"`{cookie}` in {name}" in field_docstrings(RequestSettings)["session_cookie"]


def test_every_section_has_documentation_below_each_field():
    for section in fields(Config):
        kind = section.default_factory
        assert list(field_docstrings(kind)) == [it.name for it in fields(kind)]


@dataclass
class Sample:
    """A class to read."""

    first: int = 1
    """Of
    two lines."""

    second: int = 2
    third: int = 3
    """Of one."""


def test_only_a_string_below_a_field_documents_it():
    assert field_docstrings(Sample) == {"first": "Of two lines.", "third": "Of one."}
