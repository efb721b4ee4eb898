"""Every environment variable that settings and gunicorn read is a documented one."""

import ast
from pathlib import Path

import pytest

from pcf.conf.environment import DJANGO_VARIABLES, SERVER_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
READERS = {"str", "bool", "int", "float", "list", "get", "whole_number", "_number", "_seconds"}
# GUNICORN_PID: gunicorn sets it for the process that SIGUSR2 starts; OPTIONS: a key of DATABASES
OTHERS = {"GUNICORN_PID", "OPTIONS"}
MODULES = (
    "pcf/conf/environment.py",
    "pcf/conf/defaults.py",
    "pcf/conf/production.py",
    "pcf/server/gunicorn.py",
    "settings/base.py",
    "settings/development.py",
    "settings/production.py",
)


def read_variables(text):
    """The names in capitals that a module passes to a reader or looks up in the environment."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and node.args:
            function = node.func
            name = getattr(function, "attr", None) or getattr(function, "id", None)
            if name in READERS:
                found.add(node.args[0])
        elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant):
            found.add(node.left)
    texts = {node.value for node in found if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text.isupper()}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_reads_documented_variables_only(module):
    documented = {it.name for it in (*DJANGO_VARIABLES, *SERVER_VARIABLES)}
    engine = {name for name in read_variables((ROOT / module).read_text()) if name[:4] == "PCF_"}
    assert engine <= {"PCF_TIMEOUTS_HTTP"}
    assert read_variables((ROOT / module).read_text()) - engine - OTHERS <= documented


def test_every_documented_variable_is_read():
    read = set().union(*(read_variables((ROOT / module).read_text()) for module in MODULES))
    assert {it.name for it in (*DJANGO_VARIABLES, *SERVER_VARIABLES)} <= read
