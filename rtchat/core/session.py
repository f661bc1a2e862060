"""One client's STOMP conversation, from CONNECT to the end.

A session is fed bytes and answers through its :class:`~rtchat.core.outlet.Outlet`; it does
not know about sockets, clocks or logs. What the connection has to do (start heart-beats, close)
it says to its :class:`Line`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple, Protocol

from rtchat import __version__
from rtchat.core.broker import Broker
from rtchat.core.destinations import Kind
from rtchat.core.frames import Frame, Version, encode
from rtchat.core.limits import Limits
from rtchat.core.message import Message
from rtchat.core.outlet import Outlet
from rtchat.core.parser import FrameParser
from rtchat.core.queues import Queue
from rtchat.core.subscription import Source, Subscription
from rtchat.core.subscriptions import Subscriptions
from rtchat.core.terms import ack_id, milliseconds, required, subscription_terms, wants_requeue
from rtchat.core.transactions import Acknowledgement, Action, Publication, Transactions
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["CloseReason", "HeartBeat", "Line", "Session", "State"]


class State(Enum):
    """Where a session is; :data:`_COMMANDS` says what a client may send there."""

    NEW = "before CONNECT"
    OPEN = "connected"
    CLOSED = "closed"

    # States are keys on the way of every message; an enum's own hash is a Python function.
    __hash__ = object.__hash__


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

    def pause_reading(self) -> None:
        """The client has to wait: read no more from it."""

    def resume_reading(self) -> None:
        """The client need not wait any longer."""

    def go_on(self) -> None:
        """What the client waits for has happened, in somebody else's turn: call the session's
        ``go_on``, and answer for its bugs as for those of ``receive``."""


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
        is_closed: Whether it is over, whatever the connection still does.
        version: The version agreed on; 1.0 until then, the one that everyone can read.
        has_published: Whether it has sent a message since somebody last looked and set it back.
    """

    __slots__ = (
        "_broker",
        "_held",
        "_limits",
        "_line",
        "_outlet",
        "_parser",
        "_subscriptions",
        "_transactions",
        "has_published",
        "id",
        "is_closed",
        "login",
        "state",
        "version",
    )

    def __init__(self, broker: Broker, limits: Limits, outlet: Outlet, line: Line) -> None:
        self.id = broker.next_session_id()
        self.login = ""
        self.state = State.NEW
        self.is_closed = False
        self.version = Version.V10
        self._broker = broker
        self._limits = limits
        self._outlet = outlet
        self._line = line
        self._parser = FrameParser(limits, broker.heads)
        self._subscriptions = Subscriptions(broker, limits, outlet)
        self._transactions = Transactions(limits, broker.account)
        self._held: Frame | None = None
        self.has_published = False

    @property
    def subscription_count(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    @property
    def feed_bytes(self) -> int:
        """How much waits in subscriptions that may lag."""
        return self._subscriptions.feed_bytes

    @property
    def is_waiting(self) -> bool:
        """Whether the client has to wait until a queue has room; it is not read meanwhile."""
        return self._held is not None

    def receive(self, data: bytes) -> None:
        """Take the client's next bytes and act on every frame that they complete.

        A client that breaks the protocol gets an ERROR and is closed; nothing is raised.
        Set the broker's ``now`` before, and call its ``cork.flush()`` when the turn is over.
        """
        if self.is_closed:
            return
        self._parser.feed(data)
        if self._held is None:
            self._act(None)

    def go_on(self) -> None:
        """Try the frame again that had to wait until a queue had room."""
        held, self._held = self._held, None
        self._act(held)
        if not (self.is_waiting or self.is_closed):
            self._line.resume_reading()

    def _act(self, frame: Frame | None) -> None:
        """Act on the frame, if there is one, and on all that follow as far as they are here."""
        parser = self._parser
        try:
            while not self.is_closed:
                if frame is None:
                    frame = parser.next_frame()
                    if frame is None:
                        return
                    # Most frames are SENDs that only say where to and what: when the head came
                    # before, all that _act_on would look for is known not to be there.
                    destination = frame.memo.get(_PLAIN_SEND)
                    if destination is not None:
                        self.has_published = True
                        broker = self._broker
                        if broker.takes_runs(destination):
                            bodies = parser.more_like(frame)
                            if bodies:
                                broker.publish_run(destination, frame, [frame.body, *bodies])
                                frame = None
                                continue
                        full = broker.publish_plain(destination, frame)
                        if full is not None:
                            raise _MustWait(full)
                        frame = None
                        continue
                self._act_on(frame)
                frame = None
        except _MustWait as wait:
            self._held = frame
            self._broker.wait_for(wait.queue, self._line.go_on)
            self._line.pause_reading()
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
        self.is_closed = True
        broker = self._broker
        if self._held is not None:
            self._held = None
            broker.wait_no_more(self._line.go_on)
        # First nothing is handed to this session any more; then others get what it had.
        ended = self._subscriptions.end_all()
        for name in self._transactions.names():
            ended += self._undo(self._transactions.take(name))
        broker.take_back(ended)

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
        if self.is_closed:
            return  # it was too slow for its own message; nothing follows the ERROR
        # "If a server receives a receipt header, [it] MUST acknowledge the processing of the
        # client frame with a RECEIPT frame"; "any client frame other than CONNECT".
        receipt = frame.headers.get("receipt")
        if receipt is not None and act is not Session._connect:
            self._send("RECEIPT", {"receipt-id": receipt})
        if act is Session._disconnect:
            self._close(CloseReason.DONE, "")

    def _unexpected(self, frame: Frame) -> ProtocolError:
        command = frame.command
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
        self.version = self._subscriptions.version = version
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
            client_sends, client_wants = (milliseconds(part) for part in text.split(","))
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
        destination = required(frame, "destination")
        headers = frame.headers
        transaction = headers.get("transaction")
        if transaction is None:
            self._wait_for_room(destination)
        reply_to = self._subscriptions.reply_address(headers.get("reply-to", ""))
        destination = self._subscriptions.address_of(destination)
        self.has_published = True
        if transaction is None:
            if _is_plain(headers, destination):
                frame.memo[_PLAIN_SEND] = destination
            self._broker.publish(destination, frame, reply_to)
            return
        self._transactions.check(transaction)
        self._broker.check(destination, frame)
        publish = partial(self._broker.publish, destination, frame, reply_to)
        size = Message("", destination, frame).size
        self._transactions.add(transaction, Publication(destination, size, publish))

    def _wait_for_room(self, destination: str, but: Collection[Source | None] = ()) -> None:
        """Let the client wait, before its frame has any effect, if a queue is full."""
        queue = self._broker.blocking_queue(destination, but)
        if queue is not None:
            raise _MustWait(queue)

    def _subscribe(self, frame: Frame) -> None:
        destination = required(frame, "destination")
        subscription_id = frame.headers.get("id", "")
        if not subscription_id and self.version is not Version.V10:
            required(frame, "id")
        terms = subscription_terms(frame, self._limits)
        self._subscriptions.open(subscription_id, destination, terms)

    def _unsubscribe(self, frame: Frame) -> None:
        subscription_id, destination = frame.headers.get("id", ""), ""
        if not subscription_id:
            if self.version is not Version.V10:
                required(frame, "id")
            # "It requires either a destination header or an id header" (1.0).
            destination = required(frame, "destination")
        self._subscriptions.end(subscription_id, destination)

    # Acknowledgements and transactions

    def _ack(self, frame: Frame) -> None:
        self._acknowledge(frame, is_ack=True, requeue=False)

    def _nack(self, frame: Frame) -> None:
        self._acknowledge(frame, is_ack=False, requeue=wants_requeue(frame))

    def _acknowledge(self, frame: Frame, *, is_ack: bool, requeue: bool) -> None:
        message_id, number, delivery = ack_id(frame, self.version)
        transaction = frame.headers.get("transaction")
        if transaction is not None:
            self._transactions.check(transaction)
        subscription = self._subscriptions.get(number)
        if subscription is not None and self.version is Version.V11:
            named = frame.headers.get("subscription")
            subscription = subscription if subscription.id == named else None
        try:
            if subscription is None:
                raise KeyError(number)
            deliveries = subscription.take_unacked(delivery, message_id)
        except KeyError:
            raise ProtocolError(
                f"{frame.command} of a message that does not wait for it",
                "It was acknowledged before, or its subscription has ended, or it never was sent.",
            ) from None
        if transaction is not None:
            subscription.reserved += len(deliveries)
            action = Acknowledgement(subscription, deliveries, is_ack, requeue)
            self._transactions.add(transaction, action)
            return
        source = subscription.source
        assert source is not None  # nobody else delivers what has to be acknowledged
        entries = [entry for _, entry in deliveries]
        if is_ack:
            source.acknowledged(entries)
        else:
            source.returned(entries, requeue=requeue)

    def _begin(self, frame: Frame) -> None:
        self._transactions.begin(required(frame, "transaction"))

    def _commit(self, frame: Frame) -> None:
        name = required(frame, "transaction")
        actions = self._transactions.actions(name)
        # Where it acknowledges messages it makes room itself; nobody else might.
        relieved = {
            action.subscription.source
            for action in actions
            if isinstance(action, Acknowledgement) and action.is_ack
        }
        for action in actions:
            if isinstance(action, Publication):
                self._wait_for_room(action.destination, relieved)
        # Everything was checked when it came, so all of it takes effect.
        for action in self._transactions.take(name):
            if isinstance(action, Publication):
                action.publish()
            else:
                action.take_effect()

    def _abort(self, frame: Frame) -> None:
        undone = self._undo(self._transactions.take(required(frame, "transaction")))
        self._broker.take_back(s for s in undone if self._subscriptions.get(s.number) is None)

    def _undo(self, actions: list[Action]) -> list[Subscription]:
        """Undo acknowledgements, and give the subscriptions that they were about."""
        acknowledgements = [action for action in actions if isinstance(action, Acknowledgement)]
        for action in acknowledgements:
            action.undo()
        return [action.subscription for action in acknowledgements]

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


class _MustWait(Exception):
    """A frame cannot take effect before a queue has room; nothing of it has happened."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.name)
        self.queue = queue


class _NoCommonVersion(ProtocolError):
    """The client accepts no version that the server speaks."""


_Act = Callable[[Session, Frame], None]

_PLAIN_SEND = "plain send"
"""Where a SEND head's memo keeps its topic or queue, if that is all the head asks for."""

_NOT_PLAIN = frozenset({"expiration", "expires", "receipt", "reply-to", "transaction"})

_COMMANDS: dict[State, dict[str, _Act]] = {
    State.NEW: {"CONNECT": Session._connect, "STOMP": Session._connect},
    State.OPEN: {
        "SEND": Session._send_message,
        "SUBSCRIBE": Session._subscribe,
        "UNSUBSCRIBE": Session._unsubscribe,
        "ACK": Session._ack,
        "NACK": Session._nack,
        "BEGIN": Session._begin,
        "COMMIT": Session._commit,
        "ABORT": Session._abort,
        "DISCONNECT": Session._disconnect,
    },
    State.CLOSED: {},
}


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


def _is_plain(headers: Mapping[str, str], destination: str) -> bool:
    """Tell whether a SEND goes to one topic or queue and asks for nothing else."""
    return (
        destination.startswith((Kind.TOPIC.value, Kind.QUEUE.value))
        and "," not in destination
        and _NOT_PLAIN.isdisjoint(headers)
    )
