"""A STOMP client, for the command line and for programs that publish into a room.

stomper builds the frames and its state machine reacts to what the server says, both through
:mod:`rtchat.net.stomp.stomper_adapter`; our own parser reads the frames. The client speaks
STOMP 1.1, as stomper does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.stomp.frames import (
    Frame,
    HeaderValue,
    Version,
    body_bytes,
    encode,
    encode_headers,
    header_values,
)
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import ProtocolError, ServerRefused
from rtchat.net.connection.transport import as_stream
from rtchat.net.stomp import stomper_adapter
from rtchat.net.stomp.silence import Silence

__all__ = ["OnMessage", "StompClient", "StompClientFactory"]

OnMessage = Callable[[Frame], None]
"""Called with each MESSAGE of a subscription."""


class StompClient(Protocol):
    """One connection to a STOMP server.

    Each method that returns a Deferred asks for a RECEIPT. The Deferred fires when the RECEIPT has
    come, and fails with :class:`~rtchat.errors.ServerRefused` if the server answers with ERROR or
    closes the connection.

    Args:
        login: The user name, if the server requires one.
        passcode: The user's passcode.
        host: The virtual host.
        clock: Measures how long the server is silent; None if nothing does.
        silence_s: The connection is aborted when the server has sent nothing for so long. It is
            asked for heart-beats twice as often; one that grants none is not watched.

    Attributes:
        opened: Fires with this client once the server has sent CONNECTED.
        lost: Fires with None if the connection ends after DISCONNECT; otherwise fails with
            ServerRefused.
    """

    def __init__(
        self,
        login: str = "",
        passcode: str = "",
        host: str = "/",
        *,
        clock: IReactorTime | None = None,
        silence_s: float = 20.0,
    ) -> None:
        self.opened: Deferred[StompClient] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self._login = (login, passcode, host)
        self._reactions = stomper_adapter.Reactions(self)
        self._parser = FrameParser(Limits())
        self._receipts: dict[str, Deferred[None]] = {}
        self._subscriptions: dict[str, OnMessage] = {}
        self._count = 0
        self._is_leaving = False
        self._refusal: ServerRefused | None = None
        self._silence = None if clock is None else Silence(clock, silence_s, self._silent)

    @property
    def session(self) -> str:
        """The session id that the server sent in CONNECTED."""
        return self._reactions.session

    def send(
        self,
        destination: str,
        body: bytes | str,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        transaction: str = "",
    ) -> Deferred[None]:
        """Publish a message.

        Args:
            destination: Such as ``/topic/chat``.
            body: Bytes, or text, which is sent as UTF-8 with a ``content-type`` that says so.
            headers: Further headers.
            transaction: The transaction it belongs to, if any.

        Raises:
            TypeError: The body or a header has a type that cannot be sent.
        """
        more = header_values({"destination": destination, **(headers or {})})
        if isinstance(body, str):
            more.setdefault("content-type", "text/plain;charset=utf-8")
        body = body_bytes(body)
        if transaction:
            more["transaction"] = transaction
        receipt, done = self._next_receipt()
        more |= {"receipt": receipt, "content-length": str(len(body))}
        # stomper's send() takes neither bytes nor a content-length.
        self._write(encode("SEND", more, body, Version.V11))
        return done

    def subscribe(
        self,
        destination: str,
        on_message: OnMessage,
        *,
        ack: str = "auto",
        acknowledge: bool = True,
        headers: Mapping[str, HeaderValue] | None = None,
    ) -> Deferred[str]:
        """Subscribe to a destination; fires with the subscription's id.

        Args:
            destination: Such as ``/topic/chat``.
            on_message: Called with each MESSAGE. With ``ack`` other than ``auto`` the message
                is acknowledged when the call returns; if it raises, nothing is sent.
            ack: ``auto``, ``client`` or ``client-individual``.
            acknowledge: Whether the message is acknowledged when the call returns; otherwise the
                caller does it with :meth:`ack`.
            headers: Further headers, such as ``prefetch-count``.

        Raises:
            TypeError: A header has a type that cannot be sent.
        """
        more = header_values(headers or {})
        self._count += 1
        subscription_id = f"sub-{self._count}"
        self._subscriptions[subscription_id] = on_message
        self._reactions.acknowledges[subscription_id] = acknowledge and ack != "auto"
        done = self._write_with_receipt(
            stomper_adapter.subscribe(destination, subscription_id, ack), more
        )
        return done.addCallback(lambda _: subscription_id)

    def unsubscribe(self, subscription_id: str) -> Deferred[None]:
        """End a subscription."""
        self._subscriptions.pop(subscription_id, None)
        return self._write_with_receipt(stomper_adapter.unsubscribe(subscription_id))

    def begin(self, transaction: str) -> Deferred[None]:
        """Open a transaction."""
        return self._write_with_receipt(stomper_adapter.begin(transaction))

    def commit(self, transaction: str) -> Deferred[None]:
        """Commit a transaction: everything in it takes effect."""
        return self._write_with_receipt(stomper_adapter.commit(transaction))

    def abort(self, transaction: str) -> Deferred[None]:
        """Abort a transaction: nothing in it takes effect."""
        return self._write_with_receipt(stomper_adapter.abort(transaction))

    def ack(self, message: Frame, transaction: str = "") -> Deferred[None]:
        """Acknowledge a message."""
        return self._write_with_receipt(stomper_adapter.ack(message, transaction))

    def nack(self, message: Frame, transaction: str = "") -> Deferred[None]:
        """Reject a message."""
        return self._write_with_receipt(stomper_adapter.nack(message, transaction))

    def disconnect(self) -> Deferred[None]:
        """Disconnect; fires once the server has processed everything that was sent."""
        self._is_leaving = True
        receipt, done = self._next_receipt()
        # stomper's disconnect() lacks the blank line that ends the headers.
        self._write(encode("DISCONNECT", {"receipt": receipt}, version=Version.V11))
        return done

    # Called by Twisted

    @override
    def connectionMade(self) -> None:
        wanted_ms = 0 if self._silence is None else self._silence.wanted_ms
        self._write(stomper_adapter.connect(*self._login, wanted_ms).encode())

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._silence is not None:
            self._silence.heard()
        self._parser.feed(data)
        try:
            frame = self._parser.next_frame()
            while frame is not None:
                self._take(frame)
                frame = self._parser.next_frame()
        except ProtocolError as error:
            self._refusal = ServerRefused(f"the server does not speak STOMP: {error}")
            as_stream(self.transport).abortConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._silence is not None:
            self._silence.stop()
        refusal = self._refusal or ServerRefused(
            f"the server closed the connection ({reason.getErrorMessage()})"
        )
        waiting: list[Deferred[Any]] = [self.opened, *self._receipts.values()]
        self._receipts.clear()
        for deferred in waiting:
            if not deferred.called:
                deferred.errback(Failure(refusal))
        if self._is_leaving and self._refusal is None:
            self.lost.callback(None)
        else:
            self.lost.errback(Failure(refusal))

    def _take(self, frame: Frame) -> None:
        if not self._reactions.knows(frame):
            raise ProtocolError(f"a frame with the command {frame.command}")
        if frame.command == "CONNECTED":
            self._parser.log_in(Version.V11)
            if self._silence is not None:
                self._silence.start(frame.headers.get("heart-beat", ""))
        reply = self._reactions.take(frame)
        if reply:
            self._write(reply.encode())

    # Called by stomper's state machine

    def logged_in(self) -> None:
        """CONNECTED has come."""
        self.opened.callback(self)

    def deliver(self, message: Frame) -> None:
        """MESSAGE has come."""
        on_message = self._subscriptions.get(message.headers.get("subscription", ""))
        if on_message is not None:
            on_message(message)

    def confirmed(self, receipt: str) -> None:
        """RECEIPT has come."""
        done = self._receipts.pop(receipt, None)
        if done is not None:
            done.callback(None)

    def refused(self, error: Frame) -> None:
        """ERROR has come; the server closes."""
        reason = error.headers.get("message", "no reason given")
        self._refusal = ServerRefused(f"the server answered ERROR: {reason}")
        as_stream(self.transport).loseConnection()

    def _next_receipt(self) -> tuple[str, Deferred[None]]:
        self._count += 1
        receipt = f"receipt-{self._count}"
        done: Deferred[None] = Deferred()
        self._receipts[receipt] = done
        return receipt, done

    def _write_with_receipt(
        self, frame: str, headers: Mapping[str, str] | None = None
    ) -> Deferred[None]:
        receipt, done = self._next_receipt()
        command, _, rest = frame.partition("\n")
        more = encode_headers({"receipt": receipt, **(headers or {})}.items(), Version.V11)
        self._write(b"%b\n%b%b" % (command.encode(), more, rest.encode()))
        return done

    def _silent(self, seconds: float) -> None:
        self._refusal = ServerRefused(f"the server has sent nothing for {seconds:g} seconds")
        as_stream(self.transport).abortConnection()

    def _write(self, data: bytes) -> None:
        as_stream(self.transport).write(data)


class StompClientFactory(Factory):
    """Builds a :class:`StompClient` with the same credentials for every connection."""

    noisy = False

    def __init__(self, login: str = "", passcode: str = "", host: str = "/") -> None:
        self._login = (login, passcode, host)

    @override
    def buildProtocol(self, addr: IAddress | None) -> StompClient:
        return StompClient(*self._login)
