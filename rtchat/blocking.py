"""Publishing from a program that waits: WSGI applications, scripts, cron jobs.

::

    from rtchat.blocking import publish

    publish("/topic/chat.orders", {"nick": "shop", "text": "Three apples were sold."})

No reactor runs and no thread is started: the STOMP client of :mod:`rtchat.net.stomp.client` is
fed from an ordinary socket. Each call has a connection of its own, so any number of threads may
call it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure

from rtchat.errors import ServerRefused
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.client import StompClient

__all__ = ["publish"]

_READ_BYTES = 65536
_T = TypeVar("_T")


def publish(
    destination: str,
    body: bytes | str | Mapping[str, object],
    headers: Mapping[str, str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 61613,
    login: str = "",
    passcode: str = "",
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5.0,
) -> None:
    """Publish a message; returns once the server has confirmed that it has it.

    Args:
        destination: Such as ``/topic/chat``.
        body: Text goes out as UTF-8, a mapping as JSON. A room of the chat page understands
            ``{"nick": "…", "text": "…"}`` and shows other text as it is.
        headers: More headers; without a ``timestamp`` the message gets one.
        host: Where the STOMP server is.
        port: Its port.
        login: The user's name, if the server wants one.
        passcode: The user's passcode.
        tls: For a ``stomps://`` port, such as ``ssl.create_default_context()``.
        timeout_s: How long all of it may take.

    Raises:
        ServerRefused: The server cannot be reached, answers ERROR, goes away or takes too long; the
            text says which. Nothing was published, unless the server went or time was up while the
            message was on its way.
    """
    more = {"timestamp": str(int(time.time() * 1000)), **(headers or {})}
    if isinstance(body, Mapping):
        body = JSON.write(dict(body))
        more.setdefault("content-type", "application/json")
    deadline_s = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            if tls is None:
                connection: socket.socket = plain
            else:
                connection = tls.wrap_socket(plain, server_hostname=host)
            with connection:
                talk = _Talk(connection, StompClient(login, passcode), deadline_s)
                client = talk.wait_for(talk.client.opened)
                talk.wait_for(client.send(destination, body, more))
                talk.wait_for(client.disconnect())
    except OSError as error:
        what = "took too long" if isinstance(error, TimeoutError) else str(error)
        raise ServerRefused(f"no use of the STOMP server at {host}:{port}: {what}") from error


class _Talk:
    """A STOMP client whose transport is a socket that waits."""

    def __init__(self, connection: socket.socket, client: StompClient, deadline_s: float) -> None:
        self.client = client
        self._connection = connection
        self._deadline_s = deadline_s
        self._is_closing = False
        client.lost.addErrback(lambda _: None)  # whoever waits is told by what it waits for
        self._set_timeout()
        client.makeConnection(cast(ITransport, self))

    def wait_for(self, deferred: Deferred[_T]) -> _T:
        """Read until the deferred has fired; give its result or raise its failure."""
        outcome: list[_T | Failure] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            self._set_timeout()
            data = b"" if self._is_closing else self._connection.recv(_READ_BYTES)
            if data:
                self.client.dataReceived(data)
            else:
                self.client.connectionLost(Failure(ConnectionDone()))
        result = outcome[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def _set_timeout(self) -> None:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)

    # What the client wants of a transport

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(data)

    def loseConnection(self) -> None:
        """Read no more."""
        self._is_closing = True

    abortConnection = loseConnection
