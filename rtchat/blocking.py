"""Publishing from blocking programs: WSGI applications, scripts, cron jobs.

::

    from rtchat.blocking import publish

    publish("/topic/chat.orders", {"nick": "shop", "text": "Three apples were sold."})

This needs neither a reactor nor a thread: it runs the STOMP client of
:mod:`rtchat.net.stomp.client` on a blocking socket. Each call opens its own connection, so any
number of threads may call it.
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

from rtchat.core.stomp.frames import HeaderValue, body_bytes, header_values
from rtchat.errors import ServerRefused
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.client import StompClient

__all__ = ["publish"]

_READ_BYTES = 65536
_MAX_TIMEOUT_S = 86400
_T = TypeVar("_T")


def publish(
    destination: str,
    body: bytes | str | Mapping[str, object],
    headers: Mapping[str, HeaderValue] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 61613,
    login: str = "",
    passcode: str = "",
    tls: ssl.SSLContext | bool | None = None,
    timeout_s: float = 5.0,
) -> None:
    """Publish a message and return once the server has confirmed it with a RECEIPT.

    Args:
        destination: The destination, for example ``/topic/chat``.
        body: Text is sent as UTF-8, a mapping as JSON. Rooms of the chat page expect
            ``{"nick": "…", "text": "…"}`` and show any other text unchanged.
        headers: Additional headers. A ``timestamp`` is added unless given.
        host: The host of the STOMP server.
        port: The port of the STOMP server.
        login: The user name, if the server requires one.
        passcode: The passcode.
        tls: True for a ``stomps://`` port whose certificate the system trusts, or a TLS context.
        timeout_s: The time limit for the whole call, in seconds, up to a day.

    Raises:
        ServerRefused: The server cannot be reached, answers with ERROR, closes the connection or
            takes too long; the text says which. The message was not published, unless the
            connection was lost or time ran out while it was being sent.
        TypeError: An argument has a type that cannot be used; nothing was sent.
        ValueError: There is no such port, or no such time limit; nothing was sent.
    """
    more = header_values({"timestamp": int(time.time() * 1000), **(headers or {})})
    header_values({"destination": destination, "login": login, "passcode": passcode})
    if isinstance(body, Mapping):
        body = JSON.write(dict(body))
        more.setdefault("content-type", "application/json")
    body_bytes(body)
    context = _tls_context(tls)
    _check_call(host, port, timeout_s)
    deadline_s = time.monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            if context is None:
                connection: socket.socket = plain
            else:
                connection = context.wrap_socket(plain, server_hostname=host)
            with connection:
                runner = _BlockingClient(connection, StompClient(login, passcode), deadline_s)
                client = runner.wait_for(runner.client.opened)
                runner.wait_for(client.send(destination, body, more))
                runner.wait_for(client.disconnect())
    except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
        what = "took too long" if isinstance(error, TimeoutError) else str(error)
        raise ServerRefused(
            f"cannot publish to the STOMP server at {host}:{port}: {what}"
        ) from error


def _tls_context(tls: ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    if isinstance(tls, bool):
        return ssl.create_default_context() if tls else None
    raise TypeError(f"tls is of type {type(tls).__name__}; give True or an ssl.SSLContext")


def _check_call(host: object, port: object, timeout_s: object) -> None:
    if not isinstance(host, str):
        raise TypeError(f"host is {host!r}, of type {type(host).__name__}; give a str")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port is {port!r}, of type {type(port).__name__}; give an int")
    if not 1 <= port <= 65535:
        raise ValueError(f"port is {port}; give a number from 1 to 65535")
    if not isinstance(timeout_s, (int, float)):
        raise TypeError(f"timeout_s is of type {type(timeout_s).__name__}; give seconds")
    if not 0 < timeout_s <= _MAX_TIMEOUT_S:
        raise ValueError(
            f"timeout_s is {timeout_s}; give a number of seconds above 0, up to {_MAX_TIMEOUT_S}"
        )


class _BlockingClient:
    """Runs a STOMP client on a blocking socket."""

    def __init__(self, connection: socket.socket, client: StompClient, deadline_s: float) -> None:
        self.client = client
        self._connection = connection
        self._deadline_s = deadline_s
        self._is_closing = False
        client.lost.addErrback(lambda _: None)  # pending calls fail on their own
        self._set_timeout()
        client.makeConnection(cast(ITransport, self))

    def wait_for(self, deferred: Deferred[_T]) -> _T:
        """Read until the deferred fires; return its result or raise its failure."""
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

    # The parts of ITransport that the client uses

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(data)

    def loseConnection(self) -> None:
        """Stop reading."""
        self._is_closing = True

    abortConnection = loseConnection
