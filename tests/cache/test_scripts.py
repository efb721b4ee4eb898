"""Each Lua script unpacks the arguments of its class in their order and by their names."""

import re

import pytest

from pcf.cache import scripts
from pcf.cache.scripts import Script

SCRIPTS = [each for each in vars(scripts).values() if isinstance(each, Script)]
UNPACKED = re.compile(r"^local ([\w,\s]+?) = unpack\(ARGV(?:, 1, (\d+))?\)$", re.MULTILINE)
FIRST = re.compile(r"^local (prefix) = ARGV\[(1)\]$", re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_unpacks_the_arguments_of_its_class(script):
    fields = script.arguments._fields
    found = UNPACKED.search(script.text) or FIRST.search(script.text)
    assert (found is not None) == bool(fields)
    if found is not None:
        names = tuple(name.strip() for name in found[1].split(","))
        assert names == fields
        assert found[2] in {None, str(len(fields))}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_comment_of_a_script_names_the_class_of_its_arguments(script):
    if script.arguments._fields:
        assert f"see {script.arguments.__name__}" in script.text


def test_no_two_scripts_are_the_same():
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)
    assert len({script.sha for script in SCRIPTS}) == len(SCRIPTS)
    assert len({script.arguments for script in SCRIPTS}) == len(SCRIPTS)
