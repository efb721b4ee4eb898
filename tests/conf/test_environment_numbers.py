"""Whole numbers of the environment: accepted values, and the message for others."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from pcf.conf.environment import whole_number
from tests.conf.test_production import load

NAME = "SOME_NUMBER"


def read(monkeypatch, value):
    monkeypatch.setenv(NAME, value)
    return whole_number(NAME, 8, 1, 256)


@pytest.mark.parametrize(
    ("value", "number"), [("1", 1), ("256", 256), (" 16 ", 16), ("016", 16), ("", 8), (" ", 8)]
)
def test_a_number_within_the_limits_is_read(monkeypatch, value, number):
    assert read(monkeypatch, value) == number


def test_a_variable_that_is_not_set_has_its_default(monkeypatch):
    monkeypatch.delenv(NAME, raising=False)
    assert whole_number(NAME, 8, 1, 256) == 8


def test_a_number_comes_from_a_file(monkeypatch, tmp_path):
    path = tmp_path / "number"
    path.write_text("32\n")
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.setenv(f"{NAME}_FILE", str(path))
    assert whole_number(NAME, 8, 1, 256) == 32


@pytest.mark.parametrize(
    "value", ["x", "0", "257", "-1", "8.0", "1e2", "1_0", "8 8", "\u0663", "0x10", "9" * 5_000]
)
def test_anything_else_is_refused_in_one_sentence(monkeypatch, value):
    with pytest.raises(ImproperlyConfigured) as told:
        read(monkeypatch, value)
    assert str(told.value) == f"{NAME} must be a whole number from 1 to 256, got {value!r}"


def test_a_number_below_zero_may_be_allowed(monkeypatch):
    monkeypatch.setenv(NAME, "-5")
    assert whole_number(NAME, 0, -10, 10) == -5


@pytest.mark.parametrize("value", ["x", "0", "257"])
@pytest.mark.parametrize("module", ["settings.production", "settings.development"])
def test_threads_are_checked_at_the_start(module, value):
    status, said = load(module, THREADS=value)
    assert status != 0
    assert said.splitlines()[-1] == (
        "django.core.exceptions.ImproperlyConfigured: "
        f"THREADS must be a whole number from 1 to 256, got '{value}'"
    )
