"""Responses that tests store and look up."""

from django.conf import settings

from pcf.cache.entries import Content
from pcf.cache.keys import entry_name
from pcf.cache.response_cache import LookupRequest
from pcf.execution.dependencies import Dependencies
from pcf.viewer import Viewer

ANN = Viewer(1)
BOB = Viewer(2)


def depends_on(*names):
    """Return dependencies: ``depends_on("note:7", "notes")``."""
    dependencies = Dependencies()
    for name in names:
        kind, _, key = name.partition(":")
        dependencies.add(kind, (int(key) if key else "",))
    return dependencies


def look_up(cache, token=None, digest=None, **how):
    return cache.look_up(LookupRequest(token=token, digest=digest, **how))


def store(cache, lookup, viewer, digest, body, dependencies, **how):
    name = entry_name(viewer, digest, shared=False)
    return cache.store(lookup, name, Content.of(body), 300, dependencies, **how)


def stored_body(cache, digest):
    entry = look_up(cache, None, digest).entry
    return entry and entry.body


def prefix():
    """Return the prefix of every key in Redis in this test."""
    return settings.PCF.cache.prefix
