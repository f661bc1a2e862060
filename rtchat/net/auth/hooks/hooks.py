"""Asks and tells a hook: in the order of each session, and for many sessions at a time."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.access.addresses import source_key
from rtchat.net.auth.hooks.answers import Answer, HookFailed
from rtchat.net.auth.hooks.calls import Counters, Entry, Hook, SessionLine
from rtchat.net.auth.hooks.line import Places
from rtchat.net.auth.hooks.state import HookState
from rtchat.net.auth.hooks.untold import Untold
from rtchat.net.auth.hooks.visitor import ASKED, EVENTS, TOLD, Event, Facts

__all__ = ["Hooks"]

_log = Logger(__package__)

_FIRST_RETRY_S = 1.0
_MAX_RETRY_S = 30.0


class Hooks:
    """Brings the events of all sessions to one hook.

    - The events of a session reach the hook one after the other. Sessions do not wait for each
      other, but for one of a bounded number of places. A source has at most half of them, and
      the sources take turns.
    - A question has an answer within ``timeout_s``, the wait for a place included. If there is no
      valid one, ``on_failure`` decides. Each question is put, whatever became of the last one, so
      a hook that was down is used again at once.
    - An event is told once. If it certainly has not reached the hook (no connection, or status
      429, 502 or 503), it is told later: after 1, 2, 4 … 30 seconds, or as soon as the hook answers
      anything. The later events of its session stay behind it. What may have reached the hook is
      never told again. So many events wait to be told at most; see
      :class:`~rtchat.net.auth.hooks.untold.Untold` for what is given up.

    Args:
        hook: Where the events go.
        clock: Runs timers.
        wall_s: Returns the time in seconds since 1970.
        events: The events that the hook wants; others are allowed at once.
        timeout_s: How long an answer may take.
        allows_on_failure: Whether what has no answer is allowed, not refused.
        max_calls: How many events the hook works on at a time, half of them for one source.
        max_untold: How many events wait to be told.

    Attributes:
        events: The events that the hook wants.
        counters: What has become of all events so far.
    """

    def __init__(
        self,
        hook: Hook,
        *,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        events: Collection[Event] = EVENTS,
        timeout_s: float = 5.0,
        allows_on_failure: bool = False,
        max_calls: int = 20,
        max_untold: int = 10_000,
    ) -> None:
        self.events = frozenset(events)
        self.counters = Counters()
        self._hook = hook
        self._clock = clock
        self._timeout_s = timeout_s
        self._allows_on_failure = allows_on_failure
        self._places = Places(max_calls)
        self._max_untold = max_untold
        self._untold: Untold[Entry] = Untold(max_untold)
        self._lines: dict[str, SessionLine] = {}
        self._parked: dict[SessionLine, None] = {}
        self._retry: IDelayedCall | None = None
        self._retry_s = _FIRST_RETRY_S
        self._drained: list[Deferred[None]] = []
        self._is_closed = False
        self._has_given_up = False
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        decided = "allowed" if allows_on_failure else "refused"
        self._state = HookState(clock, wall_s, hook.where, f"What it is asked is {decided}.")

    def ask(self, event: Event, facts: Facts, session_id: str) -> Deferred[Answer]:
        """Ask whether something may happen: connect, subscribe or send.

        Cancel what is returned if the client has gone. A question that is still in line is not
        put then. One that is being asked runs on, so that later events stay behind it; if it is
        ``connect``, and the hook lets the visitor in, the hook is told of ``disconnect`` as well.

        Args:
            event: What is going to happen.
            facts: What the server knows about it.
            session_id: The session.

        Returns:
            The answer. It fails only if it is cancelled.
        """
        if event not in ASKED:
            raise ValueError(f"{event} is told, not asked")
        if event not in self.events:
            return succeed(Answer())
        if self._is_closed:
            return succeed(self._by_policy(HookFailed("the server stops")))
        entry = self._enter(event, facts, session_id)
        reply = entry.reply = Deferred(lambda _: self._abandon(entry))
        if entry.line.is_parked:
            self._unpark(entry.line)
        self._step(entry.line)
        return reply

    def tell(
        self,
        event: Event,
        facts: Facts,
        session_id: str,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        """Let the hook know once what has happened: unsubscribe or disconnect.

        Args:
            event: What has happened.
            facts: What the server knows about it.
            session_id: The session.
            on_answer: Called with the answer to ``unsubscribe``, which may subscribe the visitor
                to something; not called if there is none.
        """
        if event not in TOLD:
            raise ValueError(f"{event} is asked, not told")
        if event not in self.events:
            return
        if self._is_closed:
            self.counters.given_up += 1
            return
        entry = self._enter(event, facts, session_id)
        entry.on_answer = on_answer
        if self._parked and len(entry.line.entries) == 1:
            self._park(entry)  # the hook is down, and is tried from time to time
        else:
            self._keep(entry)
            self._step(entry.line)

    def problem(self) -> str:
        """Return for ``/health`` why hooks are not reliable now; "" if they are."""
        problem = self._state.problem()
        if problem and self._untold:
            problem += f"; events still to be told: {len(self._untold)}"
        return problem

    @property
    def failures(self) -> int:
        """How many calls have failed."""
        return self._state.failures

    @property
    def untold(self) -> int:
        """How many events are still to be told."""
        return len(self._untold)

    @property
    def waiting(self) -> int:
        """How many sessions wait for a place."""
        return self._places.waiting

    def drain(self) -> Deferred[None]:
        """Return what fires when all was asked and told, or after :meth:`close`."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._say_drained()
        return drained

    def close(self) -> None:
        """End all calls. What was not told is given up, and the log says how much that is."""
        if self._is_closed:
            return
        self._is_closed = True
        self._parked.clear()
        self._stop_retry()
        entries = [entry for line in self._lines.values() for entry in line.entries]
        untold = sum(entry.is_told for entry in entries)
        for entry in entries:
            self._end(entry)
        self._lines.clear()
        for entry in entries:
            if entry.call is not None:
                entry.call.give_up()
            self._resolve(entry, self._by_policy(HookFailed("the server stops")))
        self.counters.given_up += untold
        if untold:
            _log.warn(
                "The hook {where} was not told of {count} events, because the server stops.",
                where=self._hook.where,
                count=untold,
            )
        self._hook.close()
        self._say_drained()

    def _enter(self, event: Event, facts: Facts, session_id: str) -> Entry:
        """Put an event at the end of the line of its session."""
        line = self._lines.get(session_id)
        if line is None:
            line = self._lines[session_id] = SessionLine(session_id)
        delivery = f"{self._prefix}-{next(self._numbers)}"
        entry = Entry(line, event, facts, source_key(facts.source or None), delivery)
        line.entries[entry] = None
        return entry

    def _step(self, line: SessionLine) -> None:
        """Begin with the first event of a session, unless one is being worked on."""
        if line.current is not None or line.is_parked:
            return
        if not line.entries:
            if self._lines.get(line.id) is line:
                del self._lines[line.id]
            self._say_drained()
            return
        entry = line.current = next(iter(line.entries))
        if not entry.is_told:
            self._time(entry)
        waiting = self._places.enter(entry.source, lambda: self._start(entry))
        if entry.call is None and not entry.is_over:
            entry.waiting = waiting

    def _time(self, entry: Entry) -> None:
        entry.timer = self._clock.callLater(self._timeout_s, self._too_late, entry)

    def _start(self, entry: Entry) -> None:
        """Ask or tell the hook; the event has a place."""
        entry.waiting = None
        if entry.is_told:
            self._time(entry)
        else:
            self.counters.asked += 1
        try:
            entry.call = self._hook.call(entry.event, entry.facts, entry.line.id, entry.delivery)
        except Exception:
            self._returned(Failure(), entry)
        else:
            entry.call.answer.addBoth(self._returned, entry)

    def _returned(self, result: Answer | Failure, entry: Entry) -> None:
        self._places.leave(entry.source)
        if entry.is_over:
            return
        self._end(entry)
        if isinstance(result, Failure):
            self._failed(entry, _failure_of(result))
        else:
            self._answered(entry, result)

    def _too_late(self, entry: Entry) -> None:
        entry.timer = None
        time = f"{self._timeout_s:g} s"
        if entry.call is None:
            failure = HookFailed(
                f"no answers in {time}",
                f"{entry.event} was not asked: the hook was busy with others for {time}",
            )
        else:
            failure = HookFailed(f"no answer in {time}", f"no answer to {entry.event} in {time}")
        self._end(entry)
        if entry.call is not None:
            entry.call.give_up()
        self._failed(entry, failure)

    def _end(self, entry: Entry) -> None:
        """Take an event off its line, with its timer and its wait for a place."""
        entry.is_over = True
        entry.line.entries.pop(entry, None)
        if entry.line.current is entry:
            entry.line.current = None
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        if entry.waiting is not None:
            self._places.give_up(entry.waiting)
            entry.waiting = None
        self._untold.remove(entry.source, entry)

    def _answered(self, entry: Entry, answer: Answer) -> None:
        self._state.succeeded()
        self._retry_s = _FIRST_RETRY_S
        self._has_given_up = False
        if entry.is_told:
            self.counters.told += 1
        elif not answer.is_allowed:
            self.counters.refused += 1
        elif entry.is_abandoned and entry.event == "connect":
            # The site takes the visitor for connected.
            who = answer.identity
            seen = Facts(entry.facts.source, who.user, who.nick, who.groups)
            self.tell("disconnect", seen, entry.line.id)
        self._resolve(entry, answer)
        self._step(entry.line)
        while self._parked and not self._state.is_down:
            self._go_on()

    def _failed(self, entry: Entry, failure: HookFailed) -> None:
        self._state.failed(failure)
        if entry.is_told and failure.is_untold:
            self._park(entry)
            return
        if entry.is_told:
            self.counters.lost += 1
        else:
            self.counters.failed += 1
            self._resolve(entry, self._by_policy(failure))
        self._step(entry.line)

    def _by_policy(self, failure: HookFailed) -> Answer:
        reason = f"the hook has failed: {failure.detail}"
        return Answer(self._allows_on_failure, reason, is_failure=True)

    def _resolve(self, entry: Entry, answer: Answer) -> None:
        """Hand an answer to the one who waits for it."""
        reply, entry.reply = entry.reply, None
        if reply is not None and not entry.is_abandoned:
            reply.callback(answer)
        if entry.on_answer is not None and not answer.is_failure:
            try:
                entry.on_answer(answer)
            except Exception:
                _log.failure("Acting on the answer to {event} has failed", event=entry.event)

    def _abandon(self, entry: Entry) -> None:
        """Forget a question whose client has gone."""
        entry.is_abandoned = True
        if entry.call is None and not entry.is_over:
            self._end(entry)
            self._step(entry.line)

    def _keep(self, entry: Entry) -> None:
        """Count an event that is to be told, and give one up if there are too many."""
        surplus = self._untold.add(entry.source, entry)
        if surplus is None or surplus.call is not None:
            return  # what is being told is not held up by the others
        line = surplus.line
        self._end(surplus)
        self.counters.given_up += 1
        if not self._has_given_up:
            self._has_given_up = True
            _log.warn(
                "The hook {where} is not told of some events: more than {count} wait.",
                where=self._hook.where,
                count=self._max_untold,
            )
        if not line.entries:
            self._unpark(line)
        self._step(line)

    def _park(self, entry: Entry) -> None:
        """Put an event that could not be told at the head of its line, for later.

        The questions behind it are not put: the hook would hear of them first.
        """
        line = entry.line
        rest = [one for one in line.entries if one is not entry]
        line.entries = {entry: None, **dict.fromkeys(rest)}
        line.is_parked = True
        self._parked[line] = None
        entry.is_over = False
        entry.call = None
        failure = HookFailed("down", "it could not be told yet what has happened before")
        for one in rest:
            if not one.is_told:
                self.counters.failed += 1
                self._end(one)
                self._resolve(one, self._by_policy(failure))
        self._keep(entry)
        self._try_later()

    def _unpark(self, line: SessionLine) -> None:
        line.is_parked = False
        self._parked.pop(line, None)
        if not self._parked:
            self._stop_retry()

    def _go_on(self) -> None:
        """Go on with the line that has been parked longest."""
        line = next(iter(self._parked))
        self._unpark(line)
        self._step(line)

    def _try_later(self) -> None:
        if self._parked and self._retry is None:
            self._retry = self._clock.callLater(self._retry_s, self._try_again)
            self._retry_s = min(2 * self._retry_s, _MAX_RETRY_S)

    def _try_again(self) -> None:
        self._retry = None
        self._go_on()
        self._try_later()

    def _stop_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _say_drained(self) -> None:
        if self._lines:
            return
        drained, self._drained = self._drained, []
        for one in drained:
            one.callback(None)


def _failure_of(failure: Failure) -> HookFailed:
    """Return the failure of a call; an exception of another kind is a bug of this server."""
    if isinstance(failure.value, HookFailed):
        return failure.value
    name = type(failure.value).__name__
    return HookFailed("an exception", f"{name}: {failure.value}", cause=failure)
