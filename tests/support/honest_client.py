"""A client that does nothing wrong, in a process of its own, and how long it has to wait.

It publishes to a topic of its own at a steady pace, whether or not the answers have come: a server
that stands still for a second makes it wait a second for the first message of that second, and
half a second for the one in its middle. :mod:`support.hostile` starts it and reads what it says::

    honest_client.py PORT SERVER_PID DESTINATION

On each line of input it writes the round trips since the last one as a line of JSON: pairs of
milliseconds, first those that passed, then those that were the machine's: in which the server, or
this client, was ready to run and had no processor, or which a server that does nothing but answer
took for an answer at the same time, if those were more. After the last line of input it waits for
what is missing, writes and ends.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from contextlib import suppress

__all__ = ["EVERY_S", "main"]

EVERY_S = 0.005
"""How often it publishes."""

_GIVES_UP_S = 20.0
_NUMBER = re.compile(rb"\n\nround-trip (\d+)\0")


def _answer(listener: socket.socket) -> None:
    """Answer one client, in a process of its own, until it has gone."""
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):
        while data := connection.recv(4096):
            connection.sendall(data)


class _Control:
    """What the machine needs for a round trip to a server that does nothing else."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if os.fork() == 0:
                try:
                    _answer(listener)
                finally:
                    os._exit(0)
            self.socket = socket.create_connection(listener.getsockname(), _GIVES_UP_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begun_s: dict[int, float] = {}
        self._took_s: dict[int, float] = {}
        self._buffer = b""

    def ask(self, number: int, due_s: float) -> None:
        """Begin the round trip that belongs to a message."""
        self._begun_s[number] = due_s
        self.socket.sendall(b"%d\n" % number)

    def read(self) -> None:
        """Take the answers that have come."""
        *numbers, self._buffer = (self._buffer + self.socket.recv(65536)).split(b"\n")
        now_s = time.monotonic()
        for number in map(int, numbers):
            self._took_s[number] = now_s - self._begun_s.pop(number)

    def take(self, number: int) -> float:
        """Return how long a round trip took; 0 if the answer has not come yet."""
        return self._took_s.pop(number, 0.0)


class _Client:
    def __init__(self, port: int, server: int, destination: str) -> None:
        self._destination = destination
        threads = [f"/proc/{server}/task/{name}" for name in os.listdir(f"/proc/{server}/task")]
        self._schedstats = [
            os.open(f"{process}/schedstat", os.O_RDONLY) for process in (*threads, "/proc/self")
        ]
        self._socket = socket.create_connection(("127.0.0.1", port), _GIVES_UP_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"CONNECT\naccept-version:1.2\nhost:test\nheart-beat:0,0\n\n\0")
        self._socket.recv(4096)
        subscribe = f"SUBSCRIBE\nid:0\ndestination:{destination}\nreceipt:r\n\n\0"
        self._socket.sendall(subscribe.encode())
        self._socket.recv(4096)
        self._sent: dict[int, tuple[float, float]] = {}
        self._round_trips: list[tuple[float, float]] = []
        self._buffer = b""
        self._number = 0
        self.is_cut = False
        self._control = _Control()

    def waited_s(self) -> float:
        """Return for how long server and client were ready to run and had no processor."""
        return sum(int(os.pread(file, 100, 0).split()[1]) for file in self._schedstats) / 1e9

    def publish(self, due_s: float) -> None:
        """Send the next message; its time began when it was due."""
        self._number += 1
        self._sent[self._number] = (due_s, self.waited_s())
        self._control.ask(self._number, due_s)
        body = b"round-trip %d" % self._number
        head = f"SEND\ndestination:{self._destination}\nnote:{'a' * 200}\n\n".encode()
        self._socket.sendall(head + body + b"\0")

    def read(self) -> None:
        """Take what has come."""
        data = self._socket.recv(65536)
        if not data:
            self.is_cut = True
            return
        self._buffer += data
        now_s, waited_s = time.monotonic(), self.waited_s()
        end = 0
        for found in _NUMBER.finditer(self._buffer):
            end = found.end()
            self._note(int(found[1]), now_s, waited_s)
        self._buffer = self._buffer[end:]

    def run(self) -> None:
        """Publish and read until the input ends, or the connection."""
        try:
            self._run()
            self._wait_for_the_rest()
        except OSError:
            self.is_cut = True
        now_s, waited_s = time.monotonic(), self.waited_s()
        for number in list(self._sent):
            self._note(number, now_s, waited_s)
        self.report()

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self.is_cut:
            left_s = next_s - time.monotonic()
            if left_s <= 0:
                self.publish(next_s)
                next_s += EVERY_S
                continue
            control = self._control.socket
            readable, _, _ = select.select([control, self._socket, sys.stdin], [], [], left_s)
            if control in readable:
                self._control.read()
            if self._socket in readable:
                self.read()
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    break
                self.report()

    def report(self) -> None:
        """Write what was found since the last report."""
        sys.stdout.write(json.dumps({"is_cut": self.is_cut, "ms": self._round_trips}) + "\n")
        sys.stdout.flush()
        self._round_trips = []

    def _wait_for_the_rest(self) -> None:
        deadline_s = time.monotonic() + _GIVES_UP_S
        while self._sent and not self.is_cut and (left_s := deadline_s - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left_s)[0]:
                self.read()

    def _note(self, number: int, now_s: float, waited_s: float) -> None:
        begun = self._sent.pop(number, None)
        if begun is not None:
            passed_s = now_s - begun[0]
            machine_s = max(waited_s - begun[1], min(passed_s, self._control.take(number)))
            self._round_trips.append((passed_s * 1000, machine_s * 1000))


def main() -> None:
    """Be a client until the input ends."""
    port, server, destination = sys.argv[1:]
    client = _Client(int(port), int(server), destination)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    client.run()


if __name__ == "__main__":
    main()
