"""STOMP over any transport: passes bytes to and from the session, and runs its timers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.access.addresses import AddressList, source_key
from rtchat.core.broker.broker import Broker
from rtchat.core.flow.memory import Growing
from rtchat.core.session.connection import CloseReason, HeartBeat
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import HEARTBEAT
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.drain import Drain
from rtchat.net.connection.framed_transport import IFramedTransport
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.connection.linger import Linger
from rtchat.net.connection.liveness import Liveness, Taken, progress_of, taken_by_peer
from rtchat.net.connection.pause_watch import PauseWatch
from rtchat.net.connection.transport import as_stream, peer_name, set_no_delay
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.stomp.backlogs import BacklogWatch, too_much_waits
from rtchat.net.stomp.close_codes import CLOSE_CODES
from rtchat.net.stomp.goodbye import gone_while_waiting, has_said_goodbye
from rtchat.net.stomp.heartbeats import HeartBeats
from rtchat.net.stomp.incomplete_frames import IncompleteFrames
from rtchat.net.stomp.reading import MEMORY, SESSION, TURN, ReadClient
from rtchat.net.stomp.relief import Relief
from rtchat.net.stomp.session_log import SessionLog

__all__ = ["SLOW_PUBLISHER_S", "StompFactory", "StompProtocol"]

CLOSE_GRACE_S = 5.0
"""How long a client may take none of its last bytes before the connection is aborted."""

SLOW_PUBLISHER_S = 0.1
"""How long reading from a publisher pauses after each read that fills memory further while it is
nearly used up."""


_MOST_WORK_AT_END = 1_000_000
"""How much of what was put off is done before sessions end, in units of about a microsecond."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_NOTHING: Mapping[Growing, int] = MappingProxyType({})


class StompProtocol(ReadClient, Protocol):
    """One STOMP client, on TCP or on a WebSocket.

    Attributes:
        heard_s: When the client was last heard, by the clock.
        limiter, place: What counts the client, and as whose; None if nothing does.
    """

    limiter: SourceLimiter | None = None
    place = ""
    _closed_as: tuple[CloseReason, str] | None = None
    _heartbeats: HeartBeats | None = None
    _is_rate_logged = False
    _linger: Linger | None = None  # once the session has ended

    def __init__(self, factory: StompFactory) -> None:
        self.factory = factory
        self._clock = factory.clock
        self.heard_s = 0.0
        # login time-out and pauses; after the close, the abort
        self._timers: list[IDelayedCall] = []
        self._heartbeat = HeartBeat(0, 0)

    @override
    def connectionMade(self) -> None:
        factory, transport = self.factory, as_stream(self.transport)
        self._stream = transport
        self._framed: IFramedTransport | None = None
        if IFramedTransport.providedBy(transport):
            self._framed = cast(IFramedTransport, transport)
            self._writer = writer = self._framed.writer
            self._peer = self._framed.peer
        else:
            set_no_delay(transport)
            factory.liveness.keep_alive(transport)
            self._writer = writer = ConnectionWriter(transport, factory.broker.cork)
            self._peer = peer_name(transport)
        writer.max_backlog_bytes = factory.limits.max_backlog_bytes
        writer.on_overflow = self._backlog_overflowed
        writer.watched_bytes = factory.backlogs.watched_bytes
        writer.on_backlog = self._backlog_grew
        self.session = Session(factory.broker, factory.limits, writer, self)
        factory.protocols.add(self)
        self._schedule(factory.limits.login_timeout_s, self._login_timed_out)

    @override
    def dataReceived(self, data: bytes) -> None:
        with self._writer.cork as turn:
            budget = turn.budget
            self.heard_s = turn.ticks
            used_before = budget.used - budget.held
            try:
                self.session.receive(data)
            except Exception:
                self._handle_bug()
            # Taken before the flush, which lets others go on; backlogs are known only after it.
            grown = budget.take_grown() if budget.grown else _NOTHING
        if budget.used >= budget.near_bytes or self.factory.relief.growth:
            self.factory.relief.after_turn(self, grown, budget.used - budget.held - used_before)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.limiter is not None:
            self.limiter.leave(self.place)  # before anything that might fail
        self.factory.protocols.discard(self)
        self.factory.relief.forget(self)
        self.factory.incomplete_frames.forget(self)
        self.factory.backlogs.forget(self)
        self._cancel_timers()
        self.factory.broker.cork.turns.leave(self._go_on)
        self._writer.stopProducing()
        if self._linger is not None:
            self._linger.stop()
        if self._framed is None:
            self.factory.liveness.windows.forget(self._stream)
            self.factory.liveness.pauses.lost(self._stream)
        with self.factory.broker.turn.part:
            self.session.lost()
        if self._closed_as is None:
            self.factory.log.gone(self._peer, reason)
        self.factory.connection_ended()

    def shut_down(self) -> None:
        """Send what waits, then close the connection."""
        with self.factory.broker.turn.part:
            self.session.shut_down()
        if self in self.factory.protocols:
            # Also if it was closing already, and its client takes the last bytes slowly.
            self._schedule(CLOSE_GRACE_S, self.abort)

    # Looked at by the backlog watch

    @property
    def writer(self) -> ConnectionWriter:
        """The send side."""
        return self._writer

    @property
    def peer(self) -> str:
        """The name of the client's address."""
        return self._peer

    def taken_bytes(self) -> int | None:
        """Return what grows as the client takes bytes, or None where the system does not say."""
        taken = self.taken()
        return None if taken is None else taken.total

    def abort(self) -> None:
        """Close the connection at once; unsent bytes are lost."""
        self._stream.abortConnection()

    @property
    def held_bytes(self) -> int:
        """How many bytes are held for this client: what waits for it, and all else."""
        return self._writer.waiting_bytes + self.session.holding.bytes

    def close_as_slow(self, problem: LimitExceeded) -> None:
        """Drop the backlog, and end the session."""
        self._writer.discard_backlog()
        self.session.fail(problem, reason=CloseReason.SLOW)

    # Called by its heart-beats

    @property
    def can_be_heard(self) -> bool:
        """Whether the client is read now."""
        return not self._pauses

    def taken(self) -> Taken | None:
        """Return what the client has taken, or None where the system does not say."""
        return taken_by_peer(self._stream, self._writer.waiting_bytes)

    def send_heartbeat(self) -> None:
        """Send a heart-beat."""
        self._writer.write_now(self._writer.framing.wrap(HEARTBEAT))
        if self.session.is_closed:  # the heart-beat was over the backlog limit
            self.factory.broker.cork.flush()

    def fell_silent(self, allowed_s: float) -> None:
        """End the session of a client that sends no heart-beats and takes nothing."""
        self._fail(
            f"nothing received for {allowed_s:g} seconds",
            f"The heart-beats agreed on are one every {self._heartbeat.receive_ms} ms.",
            CloseReason.SILENT,
        )

    # Called by the session

    @property
    def source(self) -> str:
        """Where the client comes from; "" if that is unknown."""
        source: str = self.factory.source_of(self._stream.getPeer())
        return source

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The credentials of the WebSocket's request, if any."""
        return _NO_HEADERS if self._framed is None else self._framed.request_headers

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """The client is logged in."""
        self._cancel_timers()
        if self.session.user and self.limiter is not None:
            self.place = self.limiter.logged_in(self.place)
        self._heartbeat = heartbeat
        self.factory.log.opened(self._peer, self.session)
        send_ms, receive_ms = heartbeat
        if send_ms or receive_ms:
            self._heartbeats = HeartBeats(self, heartbeat, self._clock)
        if self._framed is not None:
            if self._framed.request_headers:
                self._framed.request_headers = _NO_HEADERS  # they may be long, and are secret
            if send_ms and receive_ms:
                self._framed.suspend_pings(send_ms / 1000, receive_ms / 1000)

    def pause_reading(self) -> None:
        """Stop reading: the client must wait for a full queue, or for its rate limit."""
        self.pause(SESSION)

    def resume_reading(self) -> None:
        """Resume reading: the wait is over."""
        self.resume(SESSION, TURN)

    def end_turn(self) -> None:
        """Stop reading until the session has had its next turns."""
        self.pause(TURN)
        self.factory.broker.cork.turns.join(self._go_on)

    def _go_on(self) -> int:
        """Take the next turn; return its work."""
        broker = self.factory.broker
        with broker.turn as turn:
            self.resume_session()
        self.factory.relief.close_worst()
        work: int = turn.work
        return work

    def resume_after(self, delay_s: float) -> None:
        """Stop reading for a while: the client exceeds its rate limit."""
        if not self._is_rate_logged:
            self._is_rate_logged = True
            self.factory.log.is_over_rate(self._peer, self.session)
        self._schedule(delay_s, self._resume_after_delay)

    def resume_session(self) -> None:
        """Resume the session where it had to wait, handling bugs as ``dataReceived`` does."""
        budget = self.factory.broker.budget
        others = budget.take_grown() if budget.grown else _NOTHING
        try:
            self.session.resume()
        except Exception:
            self._handle_bug()
        if budget.grown:
            self.factory.relief.note_turn(self, budget.take_grown(), 0)
        for place, size in others.items():
            budget.note_grown(place, size)

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Close once the last frames are sent; abort if the client does not read them."""
        self._closed_as = (reason, text)
        self._cancel_timers()
        self.factory.log.closed(self._peer, self.session, reason, text)
        self.factory.broker.cork.turns.leave(self._go_on)
        self.resume(*self._pauses)  # what still arrives is read and dropped
        if self._framed is not None:
            self._framed.close_with(CLOSE_CODES[reason], text or reason.value)
        else:
            self._writer.close(linger=reason is not CloseReason.DONE)
            if self in self.factory.protocols:
                self._linger = Linger(self._clock, self._progress, self.abort)
                self._linger.wait(CLOSE_GRACE_S)

    # Flow control

    @override
    def gone(self, is_broken: bool) -> None:
        if self.has_its_turns:
            return  # what it has sent comes in its turns, and then the end is read
        session = self.session
        has_more_to_lose = is_broken or session.held_deliveries()
        if not has_more_to_lose and has_said_goodbye(session.parser, self._stream):
            return  # it has left its frames to us, and keeps its place in the line
        with self.factory.broker.turn.part:
            session.fail(gone_while_waiting(is_broken=is_broken))

    @property
    @override
    def pause_watch(self) -> PauseWatch:
        watch: PauseWatch = self.factory.liveness.pauses
        return watch

    @override
    def probe(self) -> None:
        # A line end may stand between any frames.
        if not (self._heartbeat.send_ms or self._writer.waiting_bytes):
            self._writer.write_now(HEARTBEAT)

    def slow_down(self) -> None:
        """Read no more from the client for a moment."""
        if not self.session.is_closed and MEMORY not in self._pauses:
            self.pause(MEMORY)
            self._schedule(SLOW_PUBLISHER_S, lambda: self.resume(MEMORY))

    # Timers

    def _schedule(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._clock.callLater(delay_s, call))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()
        if self._heartbeats is not None:
            self._heartbeats.stop()

    def _resume_after_delay(self) -> None:
        with self.factory.broker.turn:
            self.resume_session()
        self.factory.relief.close_worst()

    def _login_timed_out(self) -> None:
        seconds = self.factory.limits.login_timeout_s
        if self.session.is_asking:  # it has sent CONNECT, and the answer takes its time
            self._schedule(seconds, self._login_timed_out)
            return
        self._fail(
            f"no CONNECT within {seconds:g} seconds",
            "Send CONNECT right after connecting.",
            CloseReason.LOGIN_TIMEOUT,
        )

    def _progress(self) -> object:
        return progress_of(self._stream, self._writer.waiting_bytes)

    def _backlog_overflowed(self, waiting_bytes: int) -> None:
        limit = self.factory.limits.max_backlog_bytes
        # If it has read all, what waits is what it has to acknowledge first.
        is_read = self._writer.is_writable
        unacknowledged = self.session.subscriptions.unacknowledged if is_read else 0
        self.close_as_slow(too_much_waits(waiting_bytes, unacknowledged, limit))

    def frame_incomplete(self) -> None:
        """Watch the client: a large frame has to be complete in time."""
        self.factory.incomplete_frames.watch(self)

    def _backlog_grew(self) -> None:
        self.factory.backlogs.note(self)

    def _handle_bug(self) -> None:
        self.factory.log.bug(self._peer)
        self._fail("internal error", "The server's log tells more.", CloseReason.BUG)

    def _fail(self, message: str, detail: str, reason: CloseReason) -> None:
        with self.factory.broker.turn.part:
            self.session.fail(ProtocolError(message, detail), reason=reason)


class StompFactory(Drain[StompProtocol], Factory):
    """Builds a :class:`StompProtocol` for each client of a broker.

    Args:
        broker: The broker of all clients.
        limits: The limits of each client.
        clock: Runs the timers, and becomes the broker's clock.
        client_log: Where lines about clients are written; by default a log of its own.
        fronts: Front proxies, each of which passes many clients on: they are no source.

    Attributes:
        log: Writes about the clients.
        protocols: The connected clients.
        relief: Closes clients when memory is used up.
    """

    noisy = False

    def __init__(
        self,
        broker: Broker,
        limits: Limits,
        clock: IReactorTime,
        client_log: ClientLog | None = None,
        fronts: AddressList | None = None,
    ) -> None:
        lines = client_log or ClientLog(clock)
        self.log = SessionLog(lines)
        self.broker = broker
        self._fronts = fronts or AddressList()
        self.limits = limits
        self.clock = clock
        self.liveness = Liveness(clock)
        self.backlogs = BacklogWatch(broker, limits, clock, lines)
        self.protocols: set[StompProtocol] = set()
        self.incomplete_frames = IncompleteFrames(broker, limits, clock)
        self.relief = Relief(broker, self.protocols)
        broker.budget.on_over = self.relief.relieve
        broker.turn.seconds = clock.seconds
        broker.turn.turns.call_soon = partial(clock.callLater, 0)

    @override
    def buildProtocol(self, addr: IAddress | None) -> StompProtocol:
        return StompProtocol(self)

    def source_of(self, address: IAddress | None) -> str:
        """Return the source that a client with this address counts for; "" is unknown."""
        host: str | None = getattr(address, "host", None)
        return "" if self._fronts and host in self._fronts else source_key(host)

    def shut_down(self) -> Deferred[None]:
        """End every session, and close its connection once what waits is out.

        No ERROR is sent: clients take it for their own mistake, and do not come back.

        Returns:
            Fires when all are gone: at the latest after the grace period, when those that do not
            read are aborted.
        """
        # A message that is being delivered in parts reaches all of its subscribers.
        self.broker.cork.run_all(_MOST_WORK_AT_END)
        return self.drain(StompProtocol.shut_down)
