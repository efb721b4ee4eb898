"""A worker whose loop and threads are the test's own thread, and its clients."""

import json
import re
import socket
from threading import Thread

from gunicorn.workers.gthread import TConn

from pcf.http.hit_loop import HitLoop


def request_of(query, **headers):
    """The bytes of a POST."""
    body = json.dumps({"query": query}).encode()
    lines = ["POST /graphql HTTP/1.1", "Host: testserver", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def received(client, size):
    piece = client.recv(size)
    assert piece, "hung up"
    return piece


def answer_of(client):
    """One whole answer, and nothing behind it: its head and its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += received(client, 1)
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    body = b""
    while len(body) < length:
        body += received(client, length - len(body))
    return head.decode("latin-1"), body


def beside(stack, function):
    """Call ``function`` in a thread, which has ended when ``stack`` is closed."""
    thread = Thread(target=function)
    thread.start()
    stack.callback(thread.join, 20)
    return thread


class Looped:
    """A worker whose loop and threads are the test's own thread."""

    def __init__(self, worker, conn, client, answerer, stack):
        self.worker, self.client, self.stack = worker, client, stack
        self.loop = HitLoop(worker, answerer)
        worker.method_queue.init()
        stack.callback(worker.method_queue.close)
        worker.nr_conns = 1
        worker.enqueue_req(conn)

    def connect(self):
        """Another client."""
        ours, theirs = socket.socketpair()
        self.stack.enter_context(theirs).settimeout(10)
        conn = TConn(self.worker.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 80))
        self.stack.callback(lambda: conn.sock.close())
        self.worker.nr_conns += 1
        self.worker.enqueue_req(conn)
        return theirs

    def turn(self):
        """One turn of the loop; returns how many pieces of work it has left."""
        work = self.loop.turn(self.worker.waiting.take())
        if work is not None:
            self.worker.hand_on(work)
        return len(self.worker._jobs)

    def work(self):
        """Do what was handed on."""
        jobs = self.worker._jobs
        while len(jobs):
            self.worker._work(jobs.get())

    def close_ended(self):
        while not self.worker.method_queue._queue.empty():
            self.worker.method_queue.run_callbacks(None)

    def ask(self, data, client=None):
        """Send ``data`` and return the answer, and whether a thread made it."""
        client = client or self.client
        client.sendall(data)
        handed = self.turn()
        self.work()
        return *answer_of(client), bool(handed)
