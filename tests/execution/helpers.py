"""Helpers of the tests of the executors."""

from graphql import build_schema, parse
from promise import Promise
from promise.dataloader import DataLoader

from pcf.execution.executor import execute_with_promises


class Recording(DataLoader):
    """A loader of values from a mapping; an Exception rejects its key. It records its batches."""

    def __init__(self, values=None):
        super().__init__()
        self.values = values or {}
        self.batches = []

    def batch_load_fn(self, keys):
        self.batches.append(list(keys))
        return Promise.resolve([self.values.get(key, f"value {key}") for key in keys])


def later(value):
    """Return a promise that a later job settles."""
    return Promise.resolve(None).then(lambda _: _value(value))


def _value(value):
    if isinstance(value, Exception):
        raise value
    return value


def load_level(loader, keys):
    """Return a promise of what ``load_level`` has found."""

    def ask(resolve, _reject):
        known = loader.load_level(keys, resolve)
        if known is not None:
            resolve(known)

    return Promise(ask)


def ask(sdl, query, root=None, **options):
    return execute_with_promises(build_schema(sdl), parse(query), root_value=root, **options)


def errors(result):
    return [(error.message, error.path) for error in result.errors or ()]
