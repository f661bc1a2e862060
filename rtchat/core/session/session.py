"""One client's STOMP conversation, from CONNECT to the end.

A session is fed bytes and answers through its :class:`~rtchat.core.flow.outbound.Outbound`; it
knows neither sockets nor clocks nor logs. What the connection has to do (start heart-beats, close)
it tells its :class:`~rtchat.core.session.connection.SessionTransport`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from rtchat import __version__
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.message import size_of
from rtchat.core.broker.router import Publication, Route
from rtchat.core.broker.subscription import Source
from rtchat.core.flow.outbound import Outbound
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.session import commands
from rtchat.core.session.acks import acknowledge_run
from rtchat.core.session.connection import CloseReason, SessionTransport
from rtchat.core.session.handshake import agree_on_heartbeat, negotiate
from rtchat.core.session.headers import required
from rtchat.core.session.receipts import DONE, MustWait, ReceiptLedger, TooFast
from rtchat.core.session.refusals import (
    error_frame,
    reason_of,
    replaced,
    shutting_down,
    unexpected,
)
from rtchat.core.session.state import State
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Action, Transactions, undo
from rtchat.core.stomp.frames import HEARTBEAT, Frame, Version, encode
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Session"]

_TEMP_QUEUE = DestinationKind.TEMP_QUEUE.value


class Session:
    """One client's conversation with the broker, and the principal that it acts for.

    Args:
        broker: Where to subscribe and publish.
        limits: What the client may use.
        outbound: The client's way out.
        transport: The connection underneath.

    Attributes:
        broker: Where to subscribe and publish.
        committing: The COMMIT whose messages are on their way to the storage, and its actions.
        id: The ``session`` header of CONNECTED.
        login: The ``login`` header of CONNECT, "" without one.
        user: The name of the authenticated user; "" is anonymous.
        state: Where the conversation is.
        is_closed: Whether it is over, whatever the connection still does.
        is_lost: Whether the connection broke without a DISCONNECT: the client may soon be back.
        subscriptions: What the client listens to.
        transactions: What it has begun and not committed.
        version: The version agreed on; 1.0 until then, which every client can read.
        has_published: Whether it has sent a message since the flag was last cleared.
    """

    __slots__ = (
        "_acts",
        "_bucket",
        "_held",
        "_is_pausing",
        "_ledger",
        "_limits",
        "_outbound",
        "_parser",
        "_transport",
        "_waits_for_storage",
        "broker",
        "committing",
        "has_published",
        "id",
        "is_closed",
        "is_lost",
        "login",
        "state",
        "subscriptions",
        "transactions",
        "user",
        "version",
    )

    def __init__(
        self, broker: Broker, limits: Limits, outbound: Outbound, transport: SessionTransport
    ) -> None:
        self.id = broker.next_session_id()
        self.login = ""
        self.user = ""
        self.state = State.NEW
        self.is_closed = False
        self.is_lost = False
        self.version = Version.V10
        self.has_published = False
        self.broker = broker
        self._limits = limits
        self._outbound = outbound
        self._transport = transport
        self._parser = FrameParser(limits, broker.heads)
        self.subscriptions = Subscriptions(broker, limits, outbound, self, self._refuse)
        self.transactions = Transactions(limits, broker.account)
        self._acts = _COMMANDS[State.NEW]
        self._bucket: TokenBucket | None = None
        self._held: Frame | None = None  # the frame that has to wait
        self._waits_for_storage = False  # it waits for that, not for a queue
        self._ledger: ReceiptLedger | None = None  # None until a message has to be stored
        self._is_pausing = False  # the client sends faster than the storage writes
        self.committing: tuple[Frame, Sequence[Action]] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the client is not read because it waits for a queue, the storage or its rate."""
        return self._held is not None

    def receive(self, data: bytes) -> None:
        """Act on every frame that the client's next bytes complete.

        A client that breaks the protocol gets an ERROR and is closed; nothing is raised. Call it
        within a turn of the broker.
        """
        if self.is_closed:
            return
        parser = self._parser
        if not parser.has_more and self._held is None:
            # What comes alone is mostly a heart-beat, or a message like the one before.
            if data == HEARTBEAT:
                return
            frame = parser.next_if_same_head(data)
            if frame is not None:
                self._act(frame)
                return
        parser.feed(data)
        if self._held is None:
            self._act(None)

    def resume(self) -> None:
        """Try the frame that had to wait again, unless it is done, and act on those after it."""
        held, self._held = self._held, None
        self._act(None if held is DONE else held)
        if not (self.is_waiting or self.is_closed or self._is_pausing):
            self._transport.resume_reading()

    def _act(self, frame: Frame | None) -> None:
        """Act on the frame, if there is one, and on all that follow as far as they are here."""
        parser = self._parser
        try:
            while not self.is_closed:
                if frame is None:
                    frame = parser.next_frame() if parser.has_more else None
                    if frame is None:
                        return
                # Most frames are SENDs that only say where to and what: when the head came
                # before, all that _act_on would look for is known not to be there.
                head = frame.head
                route = head.route if head is not None and head.is_plain else None
                if type(route) is not Route or self._bucket is not None:
                    self._act_on(frame)
                    if frame.command == "ACK" and not self.is_closed:
                        frame = None  # it is not to blame for what those after it say
                        ack_ids = parser.short_acks()
                        if ack_ids:
                            acknowledge_run(ack_ids, self.subscriptions)
                else:
                    self.has_published = True
                    publishing = self.broker.publishing
                    most = publishing.max_run(route, frame) if parser.has_more else 0
                    bodies = parser.same_head_bodies(frame, most - 1) if most > 1 else None
                    if bodies:
                        publishing.publish_run(route, frame, [frame.body, *bodies])
                    else:
                        full = publishing.publish_plain(route, frame, self)
                        if full is not None:
                            raise MustWait(full)
                frame = None
        except MustWait as wait:
            self._held = frame
            self._waits_for_storage = wait.queue is None
            if wait.queue is not None:
                self.broker.full_queues.wait_for(wait.queue, self._transport.resume_session)
            elif wait.is_done:
                self._held = DONE
                self._confirm(frame)
            self._transport.pause_reading()
        except TooFast as wait:
            self._held = frame
            self._transport.pause_reading()
            self._transport.resume_after(wait.delay_s)
        except ProtocolError as error:
            self.fail(error, frame)

    # How it ends

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
        headers, body = error_frame(error, cause)
        self._send("ERROR", headers, body)
        self._close(reason or reason_of(error), error.message)

    def shut_down(self) -> None:
        """Tell the client that the server stops, and close."""
        self.fail(shutting_down(), reason=CloseReason.SHUTDOWN)

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""
        self.fail(replaced(), reason=CloseReason.REPLACED)

    def lost(self, *, said_goodbye: bool = False) -> None:
        """Leave nothing behind: the connection is gone, after a DISCONNECT or without one."""
        if self.is_closed:
            return
        self.is_closed = True
        self.is_lost = not said_goodbye
        self.state = State.CLOSED
        self._acts = _COMMANDS[State.CLOSED]
        broker = self.broker
        if self._held is not None:
            self._held = None
            broker.full_queues.cancel(self._transport.resume_session)
        # First nothing is handed to this session any more; then others get what it had.
        ended = self.subscriptions.end_all()
        for name in self.transactions.names():
            ended += undo(self.transactions.take(name))
        broker.return_unacked(ended)
        broker.leave(self)

    def _refuse(self, problem: ProtocolError) -> None:
        """End the session because a subscription cannot go on."""
        is_slow = isinstance(problem, LimitExceeded)
        self.fail(problem, reason=CloseReason.SLOW if is_slow else CloseReason.STORAGE)

    def _close(self, reason: CloseReason, text: str) -> None:
        self.lost(said_goodbye=reason is CloseReason.DONE)
        self._transport.session_closed(reason, text)

    # How frames are answered

    def _act_on(self, frame: Frame) -> None:
        act = self._acts.get(frame.command)
        if act is None:
            raise unexpected(frame.command, self.state)
        # "Only the SEND, MESSAGE, and ERROR frames MAY have a body. All other frames MUST NOT
        # have a body." Line ends before the NUL, which old clients write, harm nothing.
        if frame.body and frame.command != "SEND" and frame.body.strip(b"\r\n"):
            raise ProtocolError(f"{frame.command} with a body", "Only SEND may have a body.")
        more = act(self, frame)
        if self.is_closed:
            return  # it was too slow for its own message; nothing follows the ERROR
        if "receipt" in frame.headers and act is not Session._connect:
            self._confirm(frame, more)
        if act is commands.disconnect:
            self._close(CloseReason.DONE, "")

    def _confirm(self, frame: Frame | None, more: Mapping[str, str] | None = None) -> None:
        """Send the RECEIPT that a frame asks for, after those that are owed already."""
        # "If a server receives a receipt header, [it] MUST acknowledge the processing ..."
        receipt = None if frame is None else frame.headers.get("receipt")
        if receipt is None:
            return
        headers = {"receipt-id": receipt, **(more or {})}
        ledger = self._ledger
        if ledger is None or ledger.accepted == ledger.settled:
            self._send("RECEIPT", headers)
        else:
            ledger.owe(headers)

    def _send(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        if body:
            headers = {**headers, "content-length": str(len(body))}
        self._outbound.send(encode(command, headers, body, self.version))

    def _connect(self, frame: Frame) -> None:
        headers = frame.headers
        version = negotiate(headers.get("accept-version"))
        heartbeat, offer = agree_on_heartbeat(headers.get("heart-beat", "0,0"), self._limits)
        self.version = self.subscriptions.version = version
        login = headers.get("login", "")
        # STOMP 1.0 writes "login: <username>" in its own examples.
        self.login = login.strip() if version is Version.V10 else login
        reply = {"version": version.value, "heart-beat": offer, "session": self.id}
        self._acts = _COMMANDS[State.OPEN]
        if self.broker.router.gates:
            self._pass_gates(frame, reply)
        self.state = State.OPEN
        self._parser.log_in(version)
        if self._limits.show_server:
            reply["server"] = f"rtchat/{__version__}"
        self._send("CONNECTED", reply)
        self._transport.session_opened(heartbeat)

    def _pass_gates(self, frame: Frame, reply: dict[str, str]) -> None:
        """Take what the broker's gates grant; they may refuse the session."""
        for admission in self.broker.admit(self, frame.headers):
            reply.update(admission.headers)
            if admission.rate is not None:
                self._bucket = admission.rate
                self._acts = _RATED

    def _send_message(self, frame: Frame) -> None:
        headers = frame.headers
        route = self._route_of(frame)
        for check in route.checks:
            check(self, frame)
        broker, transaction = self.broker, headers.get("transaction")
        if transaction is None and broker.queues:
            self.wait_for_capacity(route)
        reply_to = headers.get("reply-to", "")
        if reply_to:
            reply_to = self.subscriptions.reply_address(reply_to)
        self.has_published = True
        if transaction is None:
            head = frame.head
            if head is not None and route.is_usual and _NOT_PLAIN.isdisjoint(headers):
                head.is_plain = True
            if broker.publishing.publish(route, frame, reply_to, self, self):
                raise MustWait(is_done=True)
            return
        self.transactions.check(transaction)
        broker.publishing.check(route, frame)
        publication = Publication(route, size_of(frame), frame, reply_to, self)
        self.transactions.add(transaction, publication)

    def _route_of(self, frame: Frame) -> Route:
        """Return where a SEND goes; for all SENDs with the same head it is looked up once.

        Raises:
            ProtocolError: Nothing can be sent there.
        """
        head = frame.head
        route = None if head is None else head.route
        if type(route) is not Route:
            destination = frame.headers.get("destination") or required(frame, "destination")
            if destination.startswith(_TEMP_QUEUE):
                # Another session may have a temporary queue of that name: the head is shared.
                address = self.subscriptions.address_of(destination)
                return self.broker.router.resolve(address)
            route = self.broker.router.resolve(destination)
            if head is not None:
                head.route = route
        return route

    def _send_at_rate(self, frame: Frame) -> None:
        """Take a SEND unless it is too early; then the client is not read for a while."""
        bucket = self._bucket
        assert bucket is not None  # or another function would act on SEND
        if delay_s := bucket.wait_s(self.broker.cork.now):
            raise TooFast(delay_s)
        try:
            self._send_message(frame)
        except MustWait as wait:
            if wait.is_done:
                bucket.take()
            raise
        bucket.take()

    def wait_for_capacity(self, route: Route, but: Collection[Source | None] = ()) -> None:
        """Let the client wait, before its frame has any effect, if a queue is full."""
        queue = self.broker.publishing.full_queue(route, but)
        if queue is not None:
            raise MustWait(queue)

    def wait_for_storage(self) -> None:
        """Let the frame wait until all messages that the client has sent before are stored."""
        ledger = self._ledger
        if ledger is not None and ledger.accepted != ledger.settled:
            raise MustWait

    # What the storage tells

    def message_accepted(self, *, is_much: bool) -> None:
        """Take note that a message is on its way; with ``is_much`` the client is not read."""
        if self._ledger is None:
            self._ledger = ReceiptLedger()
        self._ledger.accepted += 1
        if is_much and not self._is_pausing:
            self._is_pausing = True
            self._transport.pause_reading()

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """Take note that the first message on its way is stored, or cannot be."""
        ledger = self._ledger
        assert ledger is not None  # message_accepted() came before
        ledger.settled += 1
        if self.committing is not None and self.committing[0] is cause:
            (_, actions), self.committing = self.committing, None
            undone = [] if problem is None else undo(actions)
            if self.is_closed:
                self.broker.return_unacked(undone)
        if problem is not None:
            self.fail(problem, cause, CloseReason.STORAGE)
        if self.is_closed:
            return
        if ledger.owed:
            for headers in ledger.take_due():
                self._send("RECEIPT", headers)
        if ledger.accepted != ledger.settled:
            return
        was_pausing, self._is_pausing = self._is_pausing, False
        if self._held is not None and self._waits_for_storage:
            self._transport.resume_session()
        elif was_pausing and not self.is_waiting:
            self._transport.resume_reading()


_Act = Callable[[Session, Frame], Mapping[str, str] | None]
"""Acts on a frame; what it returns is part of the RECEIPT."""

_NOT_PLAIN = frozenset({"expiration", "expires", "receipt", "reply-to", "transaction"})

_COMMANDS: dict[State, dict[str, _Act]] = {
    State.NEW: {"CONNECT": Session._connect, "STOMP": Session._connect},
    State.OPEN: {
        "SEND": Session._send_message,
        "SUBSCRIBE": commands.subscribe,
        "UNSUBSCRIBE": commands.unsubscribe,
        "ACK": commands.ack,
        "NACK": commands.nack,
        "BEGIN": commands.begin,
        "COMMIT": commands.commit,
        "ABORT": commands.abort,
        "DISCONNECT": commands.disconnect,
    },
    State.CLOSED: {},
}
_RATED: dict[str, _Act] = {**_COMMANDS[State.OPEN], "SEND": Session._send_at_rate}
