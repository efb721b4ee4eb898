"""Many short connections at once."""

import json
import select
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

AT_ONCE, ROUNDS, EACH = 16, 40, 3


def test_every_request_on_new_connections_is_answered(server):
    """A client may reconnect before the worker that accepted its connection runs again."""
    address = urlsplit(server.url)
    body = json.dumps({"query": "{ tags { name } }"}).encode()
    request = (
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            lines = {}
            for _ in range(AT_ONCE):
                line = stack.enter_context(
                    socket.create_connection((address.hostname, address.port))
                )
                line.settimeout(10)
                line.sendall(request)
                lines[line] = EACH - 1
            while lines:
                for line in select.select(list(lines), [], [], 10)[0]:
                    answer = line.recv(100_000)
                    assert answer.startswith(b"HTTP/1.1 200 "), answer
                    if lines[line]:
                        lines[line] -= 1
                        line.sendall(request)
                    else:
                        del lines[line]
