"""Behind gunicorn: users with UUIDs are answered by the fast path, too."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from django.db import connection
from odd.models import Member
from oddities.schema import token_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(tmp_path, settings):
    """The port of a server on the database of the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = connection.settings_dict
    host = str(given["HOST"]).replace("/", "%2F")
    password = f":{given['PASSWORD']}" if given["PASSWORD"] else ""
    address = f"postgres://{given['USER']}{password}@{host}:{given['PORT']}/{given['NAME']}"
    environment = {
        **os.environ, "DATABASE_URL": address, "HOST": "127.0.0.1", "PORT": str(port),
        "ODDITIES_PREFIX": settings.PCF.cache.prefix,
    }  # fmt: skip
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(gunicorn, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    if get(port, "/readyz")[0] == 200:
                        break
                except OSError:
                    pass
                time.sleep(0.1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def get(port, path, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("POST" if body else "GET", path, body, headers)
        response = client.getresponse()
        return response.status, response.read(), response.headers.get("Cache-Status")


def test_users_with_uuids_get_their_own_answers_again_and_again(server):
    members = [Member.objects.create(name=name) for name in ("Ann", "Bob")]
    body = json.dumps({"query": "{ me { id name } }"})
    for turn in range(5):
        for member in members:
            status, text, cache = get(server, "/graphql", body, token_for(member))
            assert status == 200, text
            assert json.loads(text)["data"]["me"] == {"id": str(member.pk), "name": member.name}
            assert cache == "pcf; hit" or not turn
    Member.objects.filter(pk=members[0].pk).update(name="Anna")
    text = get(server, "/graphql", body, token_for(members[0]))[1]
    assert json.loads(text)["data"]["me"]["name"] == "Anna"
    Member.objects.filter(pk=members[1].pk).update(is_active=False)
    assert get(server, "/graphql", body, token_for(members[1]))[0] == 401
    assert json.loads(get(server, "/graphql", body)[1])["data"] == {"me": None}
