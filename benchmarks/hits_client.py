"""A simple client for ``hits``: one process that loads a server over kept connections."""

import select
import socket
import sys
from time import monotonic


def main(port: int, connections: int, seconds: int, token: str, body: str) -> None:
    content = body.encode()
    request = (
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    poll = select.poll()
    clients: dict[int, socket.socket] = {}
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request)
        clients[client.fileno()] = client
        poll.register(client, select.POLLIN)
    answers, end = 0, monotonic() + seconds
    started = monotonic()
    while monotonic() < end:
        for fd, _ in poll.poll(1_000):
            client = clients[fd]
            answer = client.recv(65_536)
            head, _, rest = answer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(rest) < length:
                rest += client.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"unexpected answer: {answer[:300]!r}")
            answers += 1
            client.sendall(request)
    print(answers / (monotonic() - started))


if __name__ == "__main__":
    _port, _connections, _seconds = map(int, sys.argv[1:4])
    main(_port, _connections, _seconds, sys.argv[4], sys.argv[5])
