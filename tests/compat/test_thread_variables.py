"""The variables of a thread that ``pcf._compat.thread_variables`` exchanges are those in use."""

import asyncio
from threading import Thread

import pytest
from django.db import connections
from promise import Promise
from promise.promise import async_instance

from pcf._compat.thread_variables import ThreadVariables

CHANGED = "a library has changed what pcf/_compat/thread_variables.py uses: "


def test_new_variables_are_those_of_a_new_thread():
    found = []

    def look():
        async_instance.is_tick_used  # noqa: B018 - the first use fills the variables
        found.append(dict(vars(async_instance)))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    outside, variables = dict(vars(async_instance)), ThreadVariables()
    variables.exchange()
    try:
        own = dict(vars(async_instance))
    finally:
        variables.exchange()
    assert own.keys() == outside.keys(), CHANGED + "async_instance"
    assert [own[name] for name in own if type(own[name]) is bool] == [
        found[0][name] for name in own if type(own[name]) is bool
    ]
    assert own["normal_queue"] is not outside["normal_queue"]
    assert dict(vars(async_instance)) == outside


def test_connections_and_promise_jobs_are_exchanged():
    outside, variables = connections["default"], ThreadVariables()
    variables.exchange()
    try:
        inside = connections["default"]
        Promise.resolve(1).then(lambda _: None)
    finally:
        variables.exchange()
    assert inside is not outside, CHANGED + "connections._connections._storage"
    assert connections["default"] is outside
    variables.exchange()
    assert connections["default"] is inside
    variables.exchange()


@pytest.mark.django_db(transaction=True)
def test_no_event_loop_runs_inside():
    async def run():
        variables = ThreadVariables()
        variables.exchange()
        try:
            seen = asyncio._get_running_loop()
            with connections["default"].cursor() as cursor:  # Django refuses it in a running loop
                cursor.execute("SELECT 1")
            connections["default"].close()
        finally:
            variables.exchange()
        return seen, asyncio.get_running_loop()

    seen, after = asyncio.run(run())
    assert seen is None
    assert after is not None


def test_django_lets_other_threads_use_a_shared_connection():
    variables, found = ThreadVariables(), []
    variables.exchange()
    connection = connections["default"]
    variables.exchange()
    assert not connection.allow_thread_sharing
    thread = Thread(
        target=lambda: found.append(
            variables.call(lambda: (connections["default"], connection.validate_thread_sharing()))
        )
    )
    thread.start()
    thread.join()
    assert found == [(connection, None)], CHANGED + "inc_thread_sharing"
