"""One client's STOMP session, from CONNECT to the end.

A session is fed bytes and replies through its :class:`~rtchat.core.flow.outbound.Outbound`. It uses
no socket, clock or log: its :class:`~rtchat.core.session.connection.SessionTransport` starts
heart-beats and closes the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rtchat import __version__
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.message import size_of
from rtchat.core.broker.router import Publication, Route
from rtchat.core.broker.steps import Steps
from rtchat.core.broker.subscription import Source
from rtchat.core.flow.holding import Holding
from rtchat.core.flow.outbound import Outbound
from rtchat.core.flow.token_bucket import Rate
from rtchat.core.flow.turns import NOTED_WORK
from rtchat.core.session import commands
from rtchat.core.session.acks import acknowledge_run
from rtchat.core.session.asking import AskingSession
from rtchat.core.session.connection import CloseReason, SessionTransport
from rtchat.core.session.costs import cost_of_waiting
from rtchat.core.session.handshake import agree_on_heartbeat, negotiate
from rtchat.core.session.headers import required
from rtchat.core.session.receipts import DONE, MustWait, ReceiptLedger, TooFast, TurnOver
from rtchat.core.session.refusals import (
    check_body,
    unexpected,
)
from rtchat.core.session.state import State
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Action, Transactions, undo
from rtchat.core.stomp.frames import CLIENT_BODIES, HEARTBEAT, Frame, Version, encode
from rtchat.core.stomp.head_cache import MAX_HEAD_BYTES
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import ProtocolError

__all__ = ["Session"]

_TEMP_QUEUE = DestinationKind.TEMP_QUEUE.value

_NONE: list[str] = []

_FRAME_WORK = 5
"""The work of a frame; see :mod:`rtchat.core.flow.turns`."""

_SLOW_FRAME_WORK = 15
"""The further work of a frame that does not take the fast path."""


class Session(AskingSession):
    """One client's session: parses and executes its frames. Implements ``Principal``.

    Args:
        broker: The broker.
        limits: The limits of the session.
        outbound: The client's output buffer.
        transport: The connection underneath.

    Attributes:
        broker, parser: The broker, and what makes frames of bytes.
        committing: The COMMIT whose messages are being stored, and its actions, or None.
        holding: What is held for the client.
        id: The ``session`` header of CONNECTED.
        login, user, source: See :class:`~rtchat.core.broker.principal.Principal`.
        subscriptions: The open subscriptions.
        transactions: The open transactions.
        version: The negotiated version. Before CONNECT it is 1.0, which every client can parse.
        has_published: Whether the client has sent a message since the flag was last cleared.
    """

    __slots__ = (
        "_is_pausing",
        "_ledger",
        "_limits",
        "_outbound",
        "_transport",
        "broker",
        "committing",
        "has_published",
        "holding",
        "login",
        "parser",
        "subscriptions",
        "transactions",
        "version",
    )

    def __init__(
        self, broker: Broker, limits: Limits, outbound: Outbound, transport: SessionTransport
    ) -> None:
        self.id = broker.next_session_id()
        self.login = ""
        self.user = ""
        self.source = self.wished_nick = ""
        self.mark = b""
        self.rights = self.fast = None
        self._question = None
        self.state = State.NEW
        self.is_closed = False
        self.is_lost = False
        self.version = Version.V10
        self.has_published = False
        self.broker = broker
        self._limits = limits
        self._outbound = outbound
        self._transport = transport
        self.holding = Holding(broker.cork, limits.max_held_bytes, self)
        self.parser = FrameParser(limits, broker.heads, CLIENT_BODIES, self.holding)
        self.subscriptions = Subscriptions(
            broker, limits, outbound, self.holding, self, self._refuse
        )
        self.transactions = Transactions(limits, self.holding)
        self._acts = _COMMANDS[State.NEW]
        self.byte_rate: Rate | None = None
        self.message_rate: Rate | None = None
        self.subscription_rate: Rate | None = None
        self.tokens = 0
        self.waits_for: Rate | None = None
        self._held: Frame | None = None  # the frame that waits, or DONE
        self._held_bytes = 0
        self._steps: Steps | None = None
        self._unconfirmed: Frame | None = None  # its RECEIPT is due when the session goes on
        self._undelivered: list[str] = _NONE  # what else it waits for, besides
        self._waits_for_storage = False  # rather than for a queue or the rate limit
        self._ledger: ReceiptLedger | None = None  # None until a message has to be stored
        self._is_pausing = False  # reading is paused because the storage is slower than the client
        self.committing: tuple[Frame, Sequence[Action]] | None = None

    def receive(self, data: bytes) -> None:
        """Process the next bytes of the client; call it within a turn of the broker.

        A protocol violation is answered with ERROR and ends the session; it is not raised.
        """
        parser = self.parser
        if not parser.has_more and self._held is None:
            # A chunk is often a heart-beat, or a message with the same head as the last one.
            if data == HEARTBEAT or self.is_closed:
                return
            frame = parser.next_if_same_head(data)
            if frame is not None:
                self._act(frame)
                return
        elif self.is_closed:
            return
        parser.feed(data)
        if self._held is None:
            self._act(None)
            cork = self.broker.cork
            if cork.work > NOTED_WORK:
                cork.turns.note(cork.work)

    def resume(self) -> None:
        """Retry the frame that had to wait, unless it is done, and process those after it.

        Call it in a turn, which may be another connection's.
        """
        if self._steps is not None and not self._carry_on(self._steps):
            return
        if self._unconfirmed is not None and self._waits_for_delivery():
            return
        held, self._held = self._held, None
        self._hold_waiting(0)
        if self._unconfirmed is not None:
            confirmed, self._unconfirmed = self._unconfirmed, None
            self.confirm(confirmed)
        self._act(None if held is DONE else held)
        if not (self.is_waiting or self.is_closed or self._is_pausing):
            self._transport.resume_reading()

    def _act(self, frame: Frame | None) -> None:
        """Process the frame, if any, and all complete frames after it."""
        parser = self.parser
        try:
            while not self.is_closed:
                if frame is None:
                    if not parser.has_more:
                        return
                    cork = self.broker.cork
                    cork.work = work = cork.work + _FRAME_WORK
                    if work > cork.turns.max_work:
                        self._end_turn()
                        return
                    frame = parser.next_frame()
                    if frame is None:
                        return
                # Fast path: a SEND whose cached head has a route, and no header that needs
                # attention, can skip all checks of _act_on.
                head = frame.head
                route = head.route if head is not None and head.is_plain else None
                if type(route) is not Route or (self.fast and route not in self.fast[0]):
                    self._act_on(frame)
                    if frame.command == "ACK" and not self.is_closed:
                        frame = None  # an error in a later ACK must not refer to this one
                        ack_ids = parser.short_acks()
                        if ack_ids:
                            rest = acknowledge_run(ack_ids, self.subscriptions)
                            self.broker.cork.work += len(ack_ids) * _FRAME_WORK
                            if rest:
                                parser.return_short_acks(rest)
                else:
                    self.has_published = True
                    publishing = self.broker.publishing
                    most = publishing.max_run(route, frame) if parser.has_more else 0
                    bodies = parser.same_head_bodies(frame, most - 1) if most > 1 else None
                    if bodies:
                        publishing.publish_run(route, frame, [frame.body, *bodies], self.mark)
                    else:
                        place = publishing.publish_plain(route, frame, self)
                        if place:
                            raise MustWait(place)
                frame = None
        except MustWait as wait:
            self._held = frame
            self._waits_for_storage = not wait.place
            if wait.is_done:
                self._held = DONE
            if wait.place:
                self.broker.waiting.join(wait.place, self)
                self._unconfirmed = frame if wait.is_done else None
            elif wait.is_done:
                self.confirm(frame)
            self._hold_waiting(cost_of_waiting(self._held, parser.buffered_bytes))
            self._transport.pause_reading()
        except TooFast as wait:
            self._wait_for_token(frame, wait.delay_s)
        except TurnOver:
            self._end_turn(frame if self._steps is None else None)
        except ProtocolError as error:
            self.fail(error, frame)

    def _end_turn(self, frame: Frame | None = None) -> None:
        """Let others have their turn: the frames that wait come in one of the next."""
        left = 0 if self._steps is None else self._steps.size
        self._held = DONE if frame is None else frame
        self._waits_for_storage = False
        self._hold_waiting(cost_of_waiting(frame, self.parser.buffered_bytes) + left)
        self._transport.end_turn()

    # Commands

    def _act_on(self, frame: Frame) -> None:
        act = self._acts.get(frame.command)
        if act is None:
            raise unexpected(frame.command, self.state)
        self.broker.cork.work += _SLOW_FRAME_WORK
        if frame.body and frame.command != "SEND":
            check_body(frame, self.version, self.state)
        act(self, frame)
        if self.is_closed:
            return  # its own message overflowed its backlog; no frame may follow the ERROR
        if "receipt" in frame.headers and act not in _CONFIRMED:
            self.confirm(frame)
        if act is commands.disconnect:
            self._close(CloseReason.DONE, "")

    def confirm(self, frame: Frame | None, more: Mapping[str, str] | None = None) -> None:
        """Send the RECEIPT that a frame requests, if any, after those that are owed already."""
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
        if self.broker.authenticator is not None:
            self.identify(self.broker.authenticator, headers)
        reply = {"version": version.value, "heart-beat": offer, "session": self.id}
        if self.user:
            reply["x-user"] = self.user
        self._acts = _COMMANDS[State.OPEN]
        if self.broker.router.gates:
            self._pass_gates(frame, reply)
        self.state = State.OPEN
        self.parser.log_in(version)
        if self._limits.show_server:
            reply["server"] = f"rtchat/{__version__}"
        self._send("CONNECTED", reply)
        self._transport.session_opened(heartbeat)
        if self.broker.authenticator is not None:
            self.broker.authenticator.opened(self)

    def _pass_gates(self, frame: Frame, reply: dict[str, str]) -> None:
        """Apply what the broker's gates grant; a gate may refuse the session with an error."""
        self.source = self._transport.source
        for admission in self.broker.admit(self, frame.headers):
            reply.update(admission.headers)
            if admission.rate is not None or admission.byte_rate is not None:
                self.message_rate, self.byte_rate = admission.rate, admission.byte_rate
                self._acts = _RATED
                self.fast = (frozenset(),)
            if admission.subscription_rate is not None:
                self.subscription_rate = admission.subscription_rate

    def _send_message(self, frame: Frame) -> None:
        headers = frame.headers
        route = self._route_of(frame)
        if self.rights is not None:
            self.broker.cork.work += self.rights.check_write(route)
        broker, transaction = self.broker, headers.get("transaction")
        if transaction is None and (broker.queues or broker.congestion.active):
            self.wait_for_capacity(route)
        for check in route.checks:  # each once, so nothing is waited for after them
            frame = check(self, frame) or frame
            headers = frame.headers
        reply_to = headers.get("reply-to", "")
        if reply_to:
            reply_to = self.subscriptions.reply_address(reply_to)
        self.has_published = True
        if transaction is None:
            head = frame.head
            if head is not None and route.is_usual and _NOT_PLAIN.isdisjoint(headers):
                head.is_plain = True
            if broker.publishing.publish(route, frame, reply_to, self, self):
                self.wait_for_storage(is_done=True)
            if "receipt" in headers:
                self.wait_for_delivery([route])
            return
        self.transactions.check(transaction, len(route.targets))
        broker.publishing.check(route, frame, self)
        publication = Publication(route, size_of(frame), frame, reply_to, self)
        self.transactions.add(transaction, publication)

    def _route_of(self, frame: Frame) -> Route:
        """Return the route of a SEND, which is cached in its head.

        Raises:
            ProtocolError: The destination is missing, or cannot be sent to.
        """
        head = frame.head
        route = None if head is None else head.route
        if type(route) is not Route:
            destination = frame.headers.get("destination") or required(frame, "destination")
            if destination.startswith(_TEMP_QUEUE):
                # Not cached: sessions share the head, but not the names of temporary queues.
                self.subscriptions.reply_address(frame.headers.get("reply-to", ""))
                address = self.subscriptions.address_of(destination)
                return self.broker.router.resolve(address)
            route = self.broker.router.resolve(destination)
            if head is not None and route.is_small and head.size <= MAX_HEAD_BYTES:
                head.route = route
        return route

    def wait_for_capacity(self, route: Route, but: set[Source | None] | None = None) -> None:
        """Raise ``MustWait`` if a queue of the route, other than those in ``but``, is full."""
        place = self.broker.publishing.place_to_wait(route, self, but)
        if place:
            raise MustWait(place)

    def wait_for_storage(self, *, is_done: bool = False) -> None:
        """Raise ``MustWait`` (see there for ``is_done``) unless all messages so far are stored."""
        ledger = self._ledger
        if ledger is not None and ledger.accepted != ledger.settled:
            raise MustWait(is_done=is_done)

    def wait_for_delivery(self, routes: Iterable[Route]) -> None:
        """Raise ``MustWait`` if SENDs just processed are delivered in parts."""
        if self.broker.parts.topics:
            self._undelivered = self.broker.publishing.unfinished(routes)
            if self._undelivered:
                raise MustWait(self._undelivered.pop(), is_done=True)

    # Called by the storage

    def message_accepted(self, *, is_much: bool) -> None:
        """Count a frame whose messages are being stored; pause reading if ``is_much``."""
        if self._ledger is None:
            self._ledger = ReceiptLedger()
        self._ledger.accepted += 1
        if is_much and not self._is_pausing:
            self._is_pausing = True
            self._transport.pause_reading()

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """Count the first frame in progress as settled: its messages are stored, or failed."""
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


_Act = Callable[[Session, Frame], None]
_CONFIRMED = (Session._connect, commands.subscribe)  # no RECEIPT, and the command sends it itself

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
_RATED: dict[str, _Act] = {**_COMMANDS[State.OPEN], "SEND": Session.send_at_rate}
