"""One client's STOMP conversation, from CONNECT to the end.

A session is fed bytes and answers through its :class:`~rtchat.core.flow.outbound.Outbound`; it does
not know about sockets, clocks or logs. What the connection has to do (start heart-beats, close)
it says to its :class:`SessionTransport`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial

from rtchat import __version__
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.message import Message, Publication
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Source, Subscription
from rtchat.core.chat.chat import Rule
from rtchat.core.chat.people import Visit
from rtchat.core.flow.outbound import Outbound
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.session.connection import CloseReason, HeartBeat, SessionTransport
from rtchat.core.session.headers import (
    ack_id,
    milliseconds,
    required,
    subscribe_options,
    subscription_number,
    wants_requeue,
)
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Acknowledgement, Action, PrivateMessage, Transactions
from rtchat.core.stomp.frames import HEARTBEAT, Frame, Version, encode
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded, NotAllowed, ProtocolError

__all__ = ["Session", "State"]


_FREE = Rule.FREE


class State(Enum):
    """Where a session is; :data:`_COMMANDS` says what a client may send there."""

    NEW = "before CONNECT"
    OPEN = "connected"
    CLOSED = "closed"

    # States are keys on the way of every message; an enum's own hash is a Python function.
    __hash__ = object.__hash__


class Session:
    """One client's conversation with the broker.

    Args:
        broker: Where to subscribe and publish.
        limits: What the client may use.
        outbound: The client's way out.
        transport: The connection underneath.

    Attributes:
        id: The ``session`` header of CONNECTED.
        login: The ``login`` header of CONNECT, "" without one.
        state: Where the conversation is.
        is_closed: Whether it is over, whatever the connection still does.
        version: The version agreed on; 1.0 until then, the one that everyone can read.
        has_published: Whether it has sent a message since somebody last looked and set it back.
    """

    __slots__ = (
        "_accepted",
        "_acts",
        "_broker",
        "_bucket",
        "_held",
        "_is_pausing",
        "_limits",
        "_outbound",
        "_owed",
        "_parser",
        "_settled",
        "_subscriptions",
        "_together",
        "_transactions",
        "_transport",
        "_visit",
        "_waits_for_own",
        "has_published",
        "id",
        "is_closed",
        "login",
        "state",
        "version",
    )

    def __init__(
        self, broker: Broker, limits: Limits, outbound: Outbound, transport: SessionTransport
    ) -> None:
        self.id = broker.next_session_id()
        self.login = ""
        self.state = State.NEW
        self.is_closed = False
        self.version = Version.V10
        self._broker = broker
        self._limits = limits
        self._outbound = outbound
        self._transport = transport
        self._parser = FrameParser(limits, broker.heads)
        self._subscriptions = Subscriptions(broker, limits, outbound, self._refuse)
        self._transactions = Transactions(limits, broker.account)
        self._held: Frame | None = None
        # How many of its messages were on their way to the history's file, and how many no
        # longer are; the receipts that have to wait until so many of them are written.
        self._accepted = self._settled = 0
        self._owed: deque[tuple[int, dict[str, str]]] | None = None
        self._is_pausing = False  # it sends faster than the file is written
        self._waits_for_own = False  # the frame held waits for that, not for a queue
        self._together: tuple[Frame, list[Action]] | None = None  # a COMMIT that is on its way
        self._acts = _COMMANDS[State.NEW]
        self._visit: Visit | None = None
        self._bucket: TokenBucket | None = None
        self.has_published = False

    @property
    def subscription_count(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    @property
    def topic_consumer_bytes(self) -> int:
        """How much waits in subscriptions that may lag."""
        return self._subscriptions.topic_consumer_bytes

    @property
    def is_waiting(self) -> bool:
        """Whether the client waits (a queue, the history, its rate); it is not read meanwhile."""
        return self._held is not None

    def receive(self, data: bytes) -> None:
        """Take the client's next bytes and act on every frame that they complete.

        A client that breaks the protocol gets an ERROR and is closed; nothing is raised.
        Set the broker's ``now`` before, and call its ``cork.flush()`` when the turn is over.
        """
        if self.is_closed:
            return
        parser = self._parser
        if not parser.has_more and self._held is None:
            # What comes alone is mostly a heart-beat, or a message like the one before.
            if data == HEARTBEAT:
                return
            frame = parser.whole(data)
            if frame is not None:
                self._act(frame)
                return
        parser.feed(data)
        if self._held is None:
            self._act(None)

    def resume(self) -> None:
        """Try the frame again that had to wait, if it is not done with."""
        held, self._held = self._held, None
        self._act(None if held is _DONE else held)
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
                destination = frame.memo.get(_PLAIN_SEND)
                if destination is None or self._bucket is not None:
                    self._act_on(frame)
                    if frame.command == "ACK" and not self.is_closed:
                        frame = None  # it is not to blame for what those after it say
                        ack_ids = parser.more_acks()
                        if ack_ids:
                            self._acknowledge_run(ack_ids)
                else:
                    self.has_published = True
                    broker = self._broker
                    most = broker.most_at_once(destination, frame) if parser.has_more else 0
                    bodies = parser.more_like(frame, most - 1) if most > 1 else None
                    if bodies:
                        broker.publish_run(destination, frame, [frame.body, *bodies])
                    else:
                        full = broker.publish_plain(destination, frame, self)
                        if full is not None:
                            raise _MustWait(full)
                frame = None
        except _MustWait as wait:
            self._held = frame
            self._waits_for_own = wait.queue is None
            if wait.queue is not None:
                self._broker.wait_for(wait.queue, self._transport.resume_session)
            elif wait.is_done:
                self._held = _DONE
                self._confirm(frame)
            self._transport.pause_reading()
        except _TooFast as wait:
            self._held = frame
            self._transport.pause_reading()
            self._transport.resume_after(wait.delay_s)
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
            reason = CloseReason.PROTOCOL
            if isinstance(error, LimitExceeded):
                reason = CloseReason.LIMIT
            elif isinstance(error, NotAllowed):
                reason = CloseReason.REFUSED
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

    def lost(self, *, said_goodbye: bool = False) -> None:
        """The connection is gone; leave nothing behind.

        Args:
            said_goodbye: The client meant it; without that it may be back in a moment.
        """
        self.state = State.CLOSED
        self._acts = _COMMANDS[State.CLOSED]
        self.is_closed = True
        broker = self._broker
        if self._held is not None:
            self._held = None
            broker.wait_no_more(self._transport.resume_session)
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.is_lost = not said_goodbye
        # First nothing is handed to this session any more; then others get what it had.
        ended = self._subscriptions.end_all()
        for name in self._transactions.names():
            ended += self._undo(self._transactions.take(name))
        broker.return_unacked(ended)
        if visit is not None and broker.chat is not None:
            broker.chat.depart(visit, broker.now)

    # How frames are answered

    def _act_on(self, frame: Frame) -> None:
        act = self._acts.get(frame.command)
        if act is None:
            raise self._unexpected(frame)
        # "Only the SEND, MESSAGE, and ERROR frames MAY have a body. All other frames MUST NOT
        # have a body." SessionTransport ends before the NUL, which old clients write, harm nobody.
        if frame.body and frame.command != "SEND" and frame.body.strip(b"\r\n"):
            raise ProtocolError(f"{frame.command} with a body", "Only SEND may have a body.")
        more = act(self, frame)
        if self.is_closed:
            return  # it was too slow for its own message; nothing follows the ERROR
        if "receipt" in frame.headers and act is not Session._connect:
            self._confirm(frame, more)
        if act is Session._disconnect:
            self._close(CloseReason.DONE, "")

    def _confirm(self, frame: Frame | None, more: Mapping[str, str] | None = None) -> None:
        """Send the RECEIPT that a frame asks for, after those that have to wait."""
        # "If a server receives a receipt header, [it] MUST acknowledge the processing of the
        # client frame with a RECEIPT frame"; "any client frame other than CONNECT".
        receipt = None if frame is None else frame.headers.get("receipt")
        if receipt is None:
            return
        headers = {"receipt-id": receipt, **(more or {})}
        if self._accepted == self._settled:
            self._send("RECEIPT", headers)
        else:
            if self._owed is None:
                self._owed = deque()
            self._owed.append((self._accepted, headers))

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
        reply = {"version": version.value, "heart-beat": offer, "session": self.id}
        self._acts = _COMMANDS[State.OPEN]
        if self._broker.chat is not None:
            self._join_chat(frame, reply)
        self.state = State.OPEN
        self._parser.log_in(version)
        if self._limits.show_server:
            reply["server"] = f"rtchat/{__version__}"
        self._send("CONNECTED", reply)
        self._transport.session_opened(heartbeat)

    def _join_chat(self, frame: Frame, reply: dict[str, str]) -> None:
        """Say who comes, and how fast it may send."""
        chat = self._broker.chat
        assert chat is not None
        visit = chat.arrive(frame.headers, self.login, self._replaced)
        self._visit = self._subscriptions.visit = visit
        if visit is not None:
            reply["nick"], reply["x-presence-id"] = visit.person.nick, visit.person.id
        self._bucket = chat.new_bucket(self._broker.now)
        if self._bucket is not None:
            self._acts = _RATED

    def _replaced(self) -> None:
        self.fail(
            ProtocolError(
                "replaced by a newer connection",
                "Another connection came with the same x-presence-token and x-presence-window.",
            ),
            reason=CloseReason.REPLACED,
        )

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
        options = HeartBeat(
            max(server_sends, client_wants) if server_sends and client_wants else 0,
            max(server_wants, client_sends) if server_wants and client_sends else 0,
        )
        return options, f"{server_sends},{server_wants}"

    def _offer(self, usual_ms: int, wished_ms: int) -> int:
        """Go below what is usual for a client that wishes it, down to the minimum."""
        if not usual_ms or not wished_ms or wished_ms >= usual_ms:
            return usual_ms
        return max(wished_ms, min(usual_ms, self._limits.min_heartbeat_ms))

    def _send_message(self, frame: Frame) -> None:
        headers = frame.headers
        destination = headers.get("destination") or required(frame, "destination")
        # What a head alone says is found out once for all that are the same.
        if frame.memo.get("rule") is not _FREE and self._is_for_chat(frame):
            return
        transaction = headers.get("transaction")
        if transaction is None:
            self._wait_for_room(destination)
        reply_to = headers.get("reply-to", "")
        if reply_to:
            reply_to = self._subscriptions.reply_address(reply_to)
        destination = self._subscriptions.address_of(destination)
        self.has_published = True
        if transaction is None:
            if frame.memo.get("rule") is _FREE and _is_plain(headers, destination):
                frame.memo[_PLAIN_SEND] = destination
            if self._broker.publish(destination, frame, reply_to, self):
                raise _MustWait(is_done=True)
            return
        self._transactions.check(transaction)
        self._broker.check(destination, frame)
        size = Message("", destination, frame).size
        self._transactions.add(transaction, Publication(destination, size, frame, reply_to))

    def _is_for_chat(self, frame: Frame) -> bool:
        """Let a SEND pass the rules; tell whether the chat took it, so that nothing is left to do.

        Raises:
            ProtocolError: It does not pass.
        """
        chat, memo = self._broker.chat, frame.memo
        if chat is None:
            memo["rule"] = _FREE
            return False
        rule: Rule | None = memo.get("rule")
        if rule is None:
            rule = memo["rule"] = chat.rule_of(frame.headers.get("destination", ""))
        if rule is _FREE:
            return False
        chat.check(rule, self._visit, frame)
        if rule is not Rule.PRIVATE:
            return False
        chat.check_private(self._visit, frame)
        self._send_private(frame)
        return True

    def _send_private(self, frame: Frame) -> None:
        reply_to = self._subscriptions.reply_address(frame.headers.get("reply-to", ""))
        publish = partial(self._broker.publish_private, self._visit, frame, reply_to)
        self.has_published = True
        transaction = frame.headers.get("transaction")
        if transaction is None:
            publish()
            return

        def publish_or_fail() -> None:
            # Who is here shows at the COMMIT, and the rest of it takes effect all the same.
            try:
                publish()
            except ProtocolError as error:
                self.fail(error)

        self._transactions.check(transaction)
        size = Message("", "", frame).size
        self._transactions.add(transaction, PrivateMessage(size, publish_or_fail))

    def _send_at_rate(self, frame: Frame) -> None:
        """Take a SEND if it is not too early; whoever is faster is not read for a while."""
        bucket = self._bucket
        assert bucket is not None
        delay_s = bucket.wait_s(self._broker.now)
        if delay_s:
            raise _TooFast(delay_s)
        try:
            self._send_message(frame)
        except _MustWait as wait:
            if wait.is_done:
                bucket.take()
            raise
        bucket.take()

    def _wait_for_room(self, destination: str, but: Collection[Source | None] = ()) -> None:
        """Let the client wait, before its frame has any effect, if a queue is full."""
        queue = self._broker.blocking_queue(destination, but)
        if queue is not None:
            raise _MustWait(queue)

    def _wait_for_own(self) -> None:
        """Let the frame wait for the messages that the client has sent before."""
        if self._accepted != self._settled:
            raise _MustWait

    def _subscribe(self, frame: Frame) -> Mapping[str, str]:
        self._wait_for_own()
        destination = required(frame, "destination")
        subscription_id = frame.headers.get("id", "")
        if not subscription_id and self.version is not Version.V10:
            required(frame, "id")
        options = subscribe_options(frame, self._limits)
        return self._subscriptions.open(subscription_id, destination, options)

    def _unsubscribe(self, frame: Frame) -> None:
        self._wait_for_own()
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
        delivery = ack_id(frame, self.version)
        transaction = frame.headers.get("transaction")
        if transaction is not None:
            self._transactions.check(transaction)
        subscription = self._subscriptions.get(subscription_number(delivery))
        if subscription is not None and self.version is Version.V11:
            named = frame.headers.get("subscription")
            subscription = subscription if subscription.id == named else None
        if subscription is None or delivery not in subscription.unacked:
            raise _nothing_to_acknowledge(frame.command)
        deliveries = subscription.take_unacked(delivery)
        if transaction is not None:
            subscription.reserved += len(deliveries)
            action = Acknowledgement(subscription, deliveries, is_ack, requeue)
            self._transactions.add(transaction, action)
            return
        source = subscription.source
        assert source is not None  # nobody else delivers what has to be acknowledged
        if len(deliveries) == 1:
            entries = [deliveries[0][1]]
        else:
            entries = [entry for _, entry in deliveries]
        if is_ack:
            source.acknowledged(entries)
        else:
            source.returned(entries, requeue=requeue)

    def _acknowledge_run(self, ack_ids: list[str]) -> None:
        """Act on several ACKs that say nothing but which delivery they are about."""
        while ack_ids:
            subscription = self._subscriptions.get(subscription_number(ack_ids[0]))
            entries, taken = ([], 0) if subscription is None else subscription.take_run(ack_ids)
            if subscription is None or not taken:
                raise _nothing_to_acknowledge("ACK")
            source = subscription.source
            assert source is not None  # nobody else delivers what has to be acknowledged
            source.acknowledged(entries)
            ack_ids = ack_ids[taken:]

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
        actions = self._transactions.take(name)
        if any(self._broker.keeps(a.destination) for a in actions if isinstance(a, Publication)):
            self._commit_together(actions, frame)
            raise _MustWait(is_done=True)
        for action in actions:
            if isinstance(action, Publication):
                self._broker.publish(action.destination, action.frame, action.reply_to)
            else:
                action.take_effect()

    def _commit_together(self, actions: list[Action], frame: Frame) -> None:
        """Let all of it take effect once the messages that are kept are in the file."""
        parts = [a if isinstance(a, Publication) else a.take_effect for a in actions]
        try:
            self._broker.publish_together(parts, self, frame)
        except ProtocolError:
            self._undo(actions)
            raise
        self._together = frame, actions

    def _abort(self, frame: Frame) -> None:
        undone = self._undo(self._transactions.take(required(frame, "transaction")))
        self._broker.return_unacked(s for s in undone if self._subscriptions.get(s.number) is None)

    def _undo(self, actions: list[Action]) -> list[Subscription]:
        """Undo acknowledgements, and give the subscriptions that they were about."""
        acknowledgements = [action for action in actions if isinstance(action, Acknowledgement)]
        for action in acknowledgements:
            action.undo()
        return [action.subscription for action in acknowledgements]

    def _disconnect(self, frame: Frame) -> None:
        """Nothing to do but the receipt and the close, which follow."""
        self._wait_for_own()

    # What the history tells

    def message_accepted(self, *, is_much: bool) -> None:
        """A message is on its way to the file; with ``is_much`` there are too many."""
        self._accepted += 1
        if is_much and not self._is_pausing:
            self._is_pausing = True
            self._transport.pause_reading()

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """The first message on its way has arrived in the file, or cannot."""
        self._settled += 1
        if self._together is not None and self._together[0] is cause:
            (_, actions), self._together = self._together, None
            undone = [] if problem is None else self._undo(actions)
            if self.is_closed:
                self._broker.return_unacked(undone)
        if problem is not None:
            self.fail(problem, cause, CloseReason.STORAGE)
        if self.is_closed:
            return
        owed = self._owed
        while owed and owed[0][0] <= self._settled:
            self._send("RECEIPT", owed.popleft()[1])
        if self._accepted != self._settled:
            return
        was_pausing, self._is_pausing = self._is_pausing, False
        if self._held is not None and self._waits_for_own:
            self._transport.resume_session()
        elif was_pausing and not self.is_waiting:
            self._transport.resume_reading()

    def _refuse(self, problem: ProtocolError) -> None:
        """End the session: what it subscribed to cannot be delivered."""
        is_slow = isinstance(problem, LimitExceeded)
        self.fail(problem, reason=CloseReason.SLOW if is_slow else CloseReason.STORAGE)

    # How the session answers

    def _send(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        if body:
            headers["content-length"] = str(len(body))
        self._outbound.send(encode(command, headers, body, self.version))

    def _close(self, reason: CloseReason, text: str) -> None:
        self.lost(said_goodbye=reason is CloseReason.DONE)
        self._transport.session_closed(reason, text)


class _MustWait(Exception):
    """The client has to wait, and its next frames with it.

    Attributes:
        queue: The queue that has to have room; None is the history's file, which has to have
            all that the client has sent.
        is_done: Whether the frame is done with otherwise. If not, nothing of it has happened.
    """

    def __init__(self, queue: Queue | None = None, *, is_done: bool = False) -> None:
        super().__init__()
        self.queue = queue
        self.is_done = is_done


_DONE = Frame("")
"""Stands for a frame that is done with but for the file."""


class _TooFast(Exception):
    """A frame came too early; nothing of it has happened."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class _NoCommonVersion(ProtocolError):
    """The client accepts no version that the server speaks."""


_Act = Callable[[Session, Frame], Mapping[str, str] | None]
"""Acts on a frame; what it returns is part of the RECEIPT."""

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

_RATED: dict[str, _Act] = {**_COMMANDS[State.OPEN], "SEND": Session._send_at_rate}


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


def _nothing_to_acknowledge(command: str) -> ProtocolError:
    return ProtocolError(
        f"{command} of a message that does not wait for it",
        "It was acknowledged before, or its subscription has ended, or it never was sent.",
    )


def _is_plain(headers: Mapping[str, str], destination: str) -> bool:
    """Tell whether a SEND goes to one topic or queue and asks for nothing else."""
    return (
        destination.startswith((DestinationKind.TOPIC.value, DestinationKind.QUEUE.value))
        and "," not in destination
        and _NOT_PLAIN.isdisjoint(headers)
    )
