"""A server that answers every request with the same bytes, to measure the generator alone.

    python -m benchmarks.load.constant [delay in milliseconds]

The server prints its port. A delay holds back every answer (for tests).
"""

import contextlib
import heapq
import select
import socket
import sys
from time import monotonic

BODY = b'{"data":{"note":null}}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Status: pcf; hit\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


def serve(listener: socket.socket, delay: float = 0.0, answer: bytes = ANSWER) -> None:
    """Answer every request read from ``listener``'s connections, ``delay`` seconds later."""
    epoll = select.epoll()
    listener.setblocking(False)
    epoll.register(listener.fileno(), select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    later: list[tuple[float, int]] = []
    while True:
        pause = max(0.0, later[0][0] - monotonic()) if later else 1.0
        select.select(
            [epoll.fileno()], (), (), pause
        )  # epoll waits in whole milliseconds, select in microseconds
        for fd, _ in epoll.poll(0):
            if fd == listener.fileno():
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[client.fileno()] = client
                epoll.register(client.fileno(), select.EPOLLIN)
                continue
            client = clients[fd]
            try:
                data = client.recv(65536)  # the generator sends a request in one piece
            except OSError:
                data = b""
            if not data:
                epoll.unregister(fd)
                del clients[fd]
                client.close()
            elif delay:
                heapq.heappush(later, (monotonic() + delay, fd))
            else:
                client.send(answer)
        while later and later[0][0] <= monotonic():
            client_fd = heapq.heappop(later)[1]
            if client_fd in clients:
                clients[client_fd].send(answer)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        print(server.getsockname()[1], flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(server, float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0)
