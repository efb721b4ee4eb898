"""A simple load: connections that are kept, one process, one selector. See ``hits``."""

import selectors
import socket
import sys
from time import monotonic


def main(port: int, connections: int, seconds: int, token: str, body: str) -> None:
    content = body.encode()
    request = (
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request)
        selector.register(client, selectors.EVENT_READ)
    answers, end = 0, monotonic() + seconds
    started = monotonic()
    while monotonic() < end:
        for key, _ in selector.select(1):
            answer = key.fileobj.recv(65_536)
            head, _, rest = answer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(rest) < length:
                rest += key.fileobj.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer)
            answers += 1
            key.fileobj.sendall(request)
    print(answers / (monotonic() - started))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:6])
