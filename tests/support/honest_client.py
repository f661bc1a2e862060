"""A client that does nothing wrong, in a process of its own, and how long it has to wait.

It publishes to a topic of its own at a steady pace, whether or not the answers have come: a server
that stands still for a second makes it wait a second for the first message of that second, and
half a second for the one in its middle. :mod:`support.hostile` starts it and reads what it says::

    honest_client.py PORT SERVER_PID DESTINATION

On each line of input it writes the round trips since the last one as a line of JSON: pairs of
milliseconds, first those that passed, then those in which the server, or this client, was ready to
run and had no processor. After the last line of input it waits for what is missing, writes and
ends.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time

__all__ = ["EVERY_S", "main"]

EVERY_S = 0.005
"""How often it publishes."""

_GIVES_UP_S = 20.0
_NUMBER = re.compile(rb"\n\nround-trip (\d+)\0")


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

    def waited_s(self) -> float:
        """Return for how long server and client were ready to run and had no processor."""
        return sum(int(os.pread(file, 100, 0).split()[1]) for file in self._schedstats) / 1e9

    def publish(self, due_s: float) -> None:
        """Send the next message; its time began when it was due."""
        self._number += 1
        self._sent[self._number] = (due_s, self.waited_s())
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
            readable, _, _ = select.select([self._socket, sys.stdin], [], [], left_s)
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
            self._round_trips.append(((now_s - begun[0]) * 1000, (waited_s - begun[1]) * 1000))


def main() -> None:
    """Be a client until the input ends."""
    port, server, destination = sys.argv[1:]
    client = _Client(int(port), int(server), destination)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    client.run()


if __name__ == "__main__":
    main()
