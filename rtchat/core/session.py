"""One client's STOMP conversation, from CONNECT to the end.

A session is fed bytes and answers through its :class:`~rtchat.core.outlet.Outlet`; it does
not know about sockets, clocks or logs. What the connection has to do (start heart-beats, close)
it says to its :class:`Line`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

from rtchat import __version__
from rtchat.core.broker import Broker
from rtchat.core.frames import Frame, Version, encode, escape
from rtchat.core.limits import Limits
from rtchat.core.outlet import Outlet
from rtchat.core.parser import FrameParser
from rtchat.core.subscription import Subscription
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["CloseReason", "HeartBeat", "Line", "Session", "State"]


class State(Enum):
    """Where a session is; :data:`_COMMANDS` says what a client may send there."""

    NEW = "before CONNECT"
    OPEN = "connected"
    CLOSED = "closed"


class CloseReason(Enum):
    """Why the server closes a connection; adapters know its close code."""

    DONE = "disconnected"
    PROTOCOL = "protocol error"
    LIMIT = "over a limit"
    LOGIN_TIMEOUT = "no login in time"
    SILENT = "no heart-beat"
    SLOW = "too slow"
    SHUTDOWN = "server shutting down"
    BUG = "internal error"


class HeartBeat(NamedTuple):
    """What both sides agreed on; 0 means never.

    Attributes:
        send_ms: The server sends something at least this often.
        receive_ms: The client sends something at least this often.
    """

    send_ms: int
    receive_ms: int


class Line(Protocol):
    """What a session asks of the connection it is on."""

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """The client is logged in: end the login time-out, begin with heart-beats."""

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Nothing follows: close once what was gathered is out. ``text`` is for people."""


class Session:
    """One client's conversation with the broker.

    Args:
        broker: Where to subscribe and publish.
        limits: What the client may use.
        outlet: The client's way out.
        line: The connection underneath.

    Attributes:
        id: The ``session`` header of CONNECTED.
        login: The ``login`` header of CONNECT, "" without one.
        state: Where the conversation is.
        version: The version agreed on; 1.0 until then, the one that everyone can read.
    """

    __slots__ = (
        "_broker",
        "_limits",
        "_line",
        "_outlet",
        "_parser",
        "_subscriptions",
        "id",
        "login",
        "state",
        "version",
    )

    def __init__(self, broker: Broker, limits: Limits, outlet: Outlet, line: Line) -> None:
        self.id = broker.next_session_id()
        self.login = ""
        self.state = State.NEW
        self.version = Version.V10
        self._broker = broker
        self._limits = limits
        self._outlet = outlet
        self._line = line
        self._parser = FrameParser(limits, broker.heads)
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def is_closed(self) -> bool:
        """Whether the conversation is over, whatever the connection still does."""
        return self.state is State.CLOSED

    @property
    def subscription_count(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    def receive(self, data: bytes) -> None:
        """Take the client's next bytes and act on every frame that they complete.

        A client that breaks the protocol gets an ERROR and is closed; nothing is raised.
        Call the broker's ``cork.flush()`` when the turn is over.
        """
        if self.is_closed:
            return
        parser = self._parser
        parser.feed(data)
        frame: Frame | None = None
        try:
            while not self.is_closed:
                frame = None
                frame = parser.next_frame()
                if frame is None:
                    return
                self._act_on(frame)
        except ProtocolError as error:
            self.fail(error, frame)

    def fail(
        self,
        error: ProtocolError,
        cause: Frame | None = None,
        reason: CloseReason | None = None,
    ) -> None:
        """Tell the client what is wrong, then close.

        Args:
            error: What to say.
            cause: The frame that caused it, if one did.
            reason: Why the connection closes; taken from the error when left out.
        """
        if self.is_closed:
            return
        if reason is None:
            is_limit = isinstance(error, LimitExceeded)
            reason = CloseReason.LIMIT if is_limit else CloseReason.PROTOCOL
        headers = {"message": error.message, "content-type": "text/plain"}
        if isinstance(error, _NoCommonVersion):
            headers["version"] = ",".join(version.value for version in Version)
        # "If the ERROR is related to a specific frame sent from the client, the server SHOULD
        # add additional headers to help identify the original frame that caused the error.
        # For example, if the frame included a receipt header, the ERROR frame SHOULD set the
        # receipt-id header to match the value of the receipt header of the frame".
        if cause is not None and "receipt" in cause.headers:
            headers["receipt-id"] = cause.headers["receipt"]
        body = f"{error.message}\n{error.detail}\n" if error.detail else f"{error.message}\n"
        self._send("ERROR", headers, body.encode())
        self._close(reason, error.message)

    def shut_down(self) -> None:
        """Say goodbye because the server stops."""
        self.fail(
            ProtocolError("server shutting down", "Connect again in a moment."),
            reason=CloseReason.SHUTDOWN,
        )

    def lost(self) -> None:
        """The connection is gone; leave nothing behind."""
        self.state = State.CLOSED
        for subscription in self._subscriptions.values():
            self._broker.unsubscribe(subscription)
        self._subscriptions.clear()

    # How frames are answered

    def _act_on(self, frame: Frame) -> None:
        act = _COMMANDS[self.state].get(frame.command)
        if act is None:
            raise self._unexpected(frame)
        # "Only the SEND, MESSAGE, and ERROR frames MAY have a body. All other frames MUST NOT
        # have a body." Line ends before the NUL, which old clients write, harm nobody.
        if frame.body and frame.command != "SEND" and frame.body.strip(b"\r\n"):
            raise ProtocolError(f"{frame.command} with a body", "Only SEND may have a body.")
        act(self, frame)
        # "If a server receives a receipt header, [it] MUST acknowledge the processing of the
        # client frame with a RECEIPT frame"; "any client frame other than CONNECT".
        receipt = frame.headers.get("receipt")
        if receipt is not None and act is not Session._connect:
            self._send("RECEIPT", {"receipt-id": receipt})
        if act is Session._disconnect:
            self._close(CloseReason.DONE, "")

    def _unexpected(self, frame: Frame) -> ProtocolError:
        command = frame.command
        if command in _NOT_YET:
            return ProtocolError(
                f"{command} is not supported by this version",
                "This server has topics with ack:auto; it has no acknowledgements and no "
                "transactions.",
            )
        if not any(command in commands for commands in _COMMANDS.values()):
            # The text is not repeated: it may be anything, of any length.
            return ProtocolError(
                "unknown command",
                "A frame begins with a STOMP command in capitals on a line of its own.",
            )
        if self.state is State.NEW:
            return ProtocolError(
                f"{command} before CONNECT", "The first frame must be CONNECT or STOMP."
            )
        return ProtocolError(f"a second {command}", "This session is connected already.")

    def _connect(self, frame: Frame) -> None:
        headers = frame.headers
        version = _negotiate(headers.get("accept-version"))
        heartbeat, offer = self._agree_on_heartbeat(headers.get("heart-beat", "0,0"))
        self.version = version
        login = headers.get("login", "")
        # STOMP 1.0 writes "login: <username>" in its own examples.
        self.login = login.strip() if version is Version.V10 else login
        self.state = State.OPEN
        self._parser.log_in(version)
        reply = {"version": version.value, "heart-beat": offer, "session": self.id}
        if self._limits.show_server:
            reply["server"] = f"rtchat/{__version__}"
        self._send("CONNECTED", reply)
        self._line.session_opened(heartbeat)

    def _agree_on_heartbeat(self, text: str) -> tuple[HeartBeat, str]:
        """Give the terms and the header that tells the client of them."""
        try:
            client_sends, client_wants = (_milliseconds(part) for part in text.split(","))
        except ValueError:
            raise ProtocolError(
                "heart-beat is not two numbers",
                "Write heart-beat:SEND,RECEIVE with two whole numbers of milliseconds.",
            ) from None
        limits = self._limits
        server_sends = self._offer(limits.heartbeat_send_ms, client_wants)
        server_wants = self._offer(limits.heartbeat_receive_ms, client_sends)
        # "if <cx> is 0 (the client cannot send heart-beats) or <sy> is 0 (the server does not
        # want to receive heart-beats) then there will be none; otherwise, there will be
        # heart-beats every MAX(<cx>,<sy>) milliseconds"
        terms = HeartBeat(
            max(server_sends, client_wants) if server_sends and client_wants else 0,
            max(server_wants, client_sends) if server_wants and client_sends else 0,
        )
        return terms, f"{server_sends},{server_wants}"

    def _offer(self, usual_ms: int, wished_ms: int) -> int:
        """Go below what is usual for a client that wishes it, down to the minimum."""
        if not usual_ms or not wished_ms or wished_ms >= usual_ms:
            return usual_ms
        return max(wished_ms, min(usual_ms, self._limits.min_heartbeat_ms))

    def _send_message(self, frame: Frame) -> None:
        destination = _required(frame, "destination")
        _refuse_transaction(frame)
        self._broker.publish(destination, frame)

    def _subscribe(self, frame: Frame) -> None:
        destination = _required(frame, "destination")
        subscription_id = frame.headers.get("id", "")
        if not subscription_id and self.version is not Version.V10:
            _required(frame, "id")
        ack = frame.headers.get("ack", "auto")
        if ack in ("client", "client-individual"):
            raise ProtocolError(
                f"ack:{ack} is not supported by this version",
                "Subscribe with ack:auto, or leave the header out.",
            )
        if ack != "auto":
            raise ProtocolError(
                "unknown ack mode", "ack is one of auto, client and client-individual."
            )
        key = self._subscription_key(subscription_id, destination)
        if key in self._subscriptions:
            raise ProtocolError(
                "subscription id in use",
                "Within one connection every subscription needs an id of its own.",
            )
        limit = self._limits.max_subscriptions
        if len(self._subscriptions) >= limit:
            raise LimitExceeded(
                f"more than {limit} subscriptions",
                "The limit is subscription.max_count of the server, for one session.",
            )
        subscription = Subscription(subscription_id, destination, self.version, self._outlet)
        self._broker.subscribe(subscription)
        self._subscriptions[key] = subscription

    def _unsubscribe(self, frame: Frame) -> None:
        subscription_id = frame.headers.get("id", "")
        if subscription_id:
            key = self._subscription_key(subscription_id, "")
        elif self.version is Version.V10:
            # "It requires either a destination header or an id header" (1.0).
            key = self._subscription_key("", _required(frame, "destination"))
        else:
            key = self._subscription_key(_required(frame, "id"), "")
        subscription = self._subscriptions.pop(key, None)
        if subscription is None:
            raise ProtocolError(
                "no such subscription", "UNSUBSCRIBE needs the id of an open SUBSCRIBE."
            )
        self._broker.unsubscribe(subscription)

    def _subscription_key(self, subscription_id: str, destination: str) -> str:
        """Give what a subscription is known by within this session.

        Ids are one when their MESSAGE frames would be: 1.0 cannot write all that it can read.
        A 1.0 client may subscribe without an id; then the destination stands for it.
        """
        if subscription_id:
            return f"id:{escape(subscription_id, self.version)}"
        return f"destination:{destination}"

    def _disconnect(self, frame: Frame) -> None:
        """Nothing to do but the receipt and the close, which follow."""

    # How the session answers

    def _send(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        if body:
            headers["content-length"] = str(len(body))
        self._outlet.send(encode(command, headers, body, self.version))

    def _close(self, reason: CloseReason, text: str) -> None:
        self.lost()
        self._line.session_closed(reason, text)


class _NoCommonVersion(ProtocolError):
    """The client accepts no version that the server speaks."""


_Act = Callable[[Session, Frame], None]

_COMMANDS: dict[State, dict[str, _Act]] = {
    State.NEW: {"CONNECT": Session._connect, "STOMP": Session._connect},
    State.OPEN: {
        "SEND": Session._send_message,
        "SUBSCRIBE": Session._subscribe,
        "UNSUBSCRIBE": Session._unsubscribe,
        "DISCONNECT": Session._disconnect,
    },
    State.CLOSED: {},
}
_NOT_YET = frozenset({"ACK", "NACK", "BEGIN", "COMMIT", "ABORT"})


def _negotiate(accept_version: str | None) -> Version:
    if accept_version is None:
        # A 1.0 client does not know the header.
        return Version.V10
    accepted = {text.strip() for text in accept_version.split(",")}
    for version in reversed(Version):
        if version.value in accepted:
            return version
    raise _NoCommonVersion(
        "no common version",
        f"This server speaks STOMP {', '.join(version.value for version in Version)}.",
    )


def _milliseconds(text: str) -> int:
    text = text.strip()
    # More than 18 digits are not a time; int() would take quadratic time for them.
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError(text)
    return int(text)


def _required(frame: Frame, name: str) -> str:
    value = frame.headers.get(name)
    if not value:
        raise ProtocolError(
            f"{frame.command} without {name}", f"{frame.command} needs the header {name}."
        )
    return value


def _refuse_transaction(frame: Frame) -> None:
    if "transaction" in frame.headers:
        raise ProtocolError(
            "transactions are not supported by this version",
            "Send the message without the transaction header.",
        )
