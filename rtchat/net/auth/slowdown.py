"""Wrong passwords make further tries wait: those of the same source, and those for the same name.

A source has a few tries at once, and after as many wrong ones one try at a time: each waits for
the outcome of the one before, and then 1, 2, 4 … seconds. A name that was tried wrongly from
anywhere leaves no source more than one try at a time, and makes it wait, but never for long: an
attacker must not lock the user out.

A source from which a user has logged in stands in a line of its own for that user, so that the
wrong tries of others at the same address, or for the same name, are of no concern to it.

Known and unknown names are treated alike.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.errors import AccessRefused, LimitExceeded

__all__ = ["BUSY", "Attempt", "SlowDown"]

BUSY = (
    "too many log-ins at once",
    "The server has more passwords to check than it can. Try again in some seconds.",
)
"""Message and detail for a client that was refused for the load alone."""

_FREE = 5
_MAX_PAUSE_S = 16.0
_MAX_WAIT_S = 30.0
_MAX_NAME_WAIT_S = 8.0  # less than [broker] login.timeout, and than what clients wait
_FORGET_S = 900.0
_MAX_KEPT = 8192
_MAX_KNOWN = 16384
_MAX_WAITING = 2048
_MAX_IN_LINE = 64
_NAMES_OF_A_LINE = 8


class _Record(Protocol):
    """What is forgotten some time after the last wrong try."""

    wrong: int
    last_s: float

    @property
    def is_used(self) -> bool:
        """Whether it must not be forgotten now."""


_Key = TypeVar("_Key", bound=Hashable)
_Kept = TypeVar("_Kept", bound=_Record)


class _Name:
    """What is known of a name."""

    __slots__ = ("is_used", "last_s", "wrong")

    def __init__(self) -> None:
        self.wrong = 0
        self.last_s = 0.0
        self.is_used = False


class _Line:
    """The tries of one source, or of one source for one user.

    Attributes:
        wrong: How many were wrong lately.
        last_s: When the last of these was.
        free_s: When the next one may begin.
        in_flight: How many have begun and have no outcome yet.
        waiting: Those that have not begun.
        by_name: How many were wrong for each of the last names.
        timer: Looks at the line again.
        is_released: Whether it is being looked at.
    """

    __slots__ = (
        "by_name",
        "free_s",
        "in_flight",
        "is_released",
        "key",
        "last_s",
        "timer",
        "waiting",
        "wrong",
    )

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.wrong = 0
        self.last_s = 0.0
        self.free_s = 0.0
        self.in_flight = 0
        self.waiting: deque[Attempt] = deque()
        self.by_name: OrderedDict[str, int] = OrderedDict()
        self.timer: IDelayedCall | None = None
        self.is_released = False

    @property
    def is_used(self) -> bool:
        """Whether it has tries without an outcome."""
        return bool(self.in_flight or self.waiting)


class Attempt:
    """One try. Its outcome has to be told: :meth:`right`, :meth:`wrong` or :meth:`void`.

    Attributes:
        name: The name that is tried.
        source: Where it comes from.
        is_known: Whether the user has logged in from there before.
    """

    __slots__ = ("_slow_down", "begun", "deadline_s", "is_known", "line", "name", "source", "timer")

    def __init__(
        self, slow_down: SlowDown, source: str, name: str, line: _Line | None, *, is_known: bool
    ) -> None:
        self._slow_down: SlowDown | None = slow_down
        self.source = source
        self.name = name
        self.line = line
        self.is_known = is_known
        self.deadline_s = 0.0
        self.timer: IDelayedCall | None = None
        self.begun: Deferred[Attempt] = Deferred(lambda _: slow_down.give_up(self))

    def right(self) -> None:
        """The password was right."""
        self._settle(1)

    def wrong(self) -> None:
        """The password was wrong."""
        self._settle(-1)

    def void(self) -> None:
        """The password was not looked at."""
        self._settle(0)

    def _settle(self, outcome: int) -> None:
        slow_down, self._slow_down = self._slow_down, None
        if slow_down is not None:
            slow_down.settle(self, outcome)


class SlowDown:
    """Lets tries begin, at once or later.

    Args:
        clock: Tells the time, and runs the timers of those that wait.
        free: So many wrong tries have no consequences.
        max_pause_s: The longest pause between two tries of a source.
        max_wait_s: The longest time that a try waits in a line.
        max_name_wait_s: The longest time that a name makes wait.
        forget_s: So long after the last wrong try it is forgotten.
        max_kept: How many sources, and names, are remembered.
        max_known: How many log-ins, each of a user from a source.
        max_waiting: How many tries may wait in total.
        max_in_line: How many in one line.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        free: int = _FREE,
        max_pause_s: float = _MAX_PAUSE_S,
        max_wait_s: float = _MAX_WAIT_S,
        max_name_wait_s: float = _MAX_NAME_WAIT_S,
        forget_s: float = _FORGET_S,
        max_kept: int = _MAX_KEPT,
        max_known: int = _MAX_KNOWN,
        max_waiting: int = _MAX_WAITING,
        max_in_line: int = _MAX_IN_LINE,
    ) -> None:
        self._clock = clock
        self._free = free
        self._max_pause_s = max_pause_s
        self._max_wait_s = max_wait_s
        self._max_name_wait_s = max_name_wait_s
        self._forget_s = forget_s
        self._max_kept = max_kept
        self._max_known = max_known
        self._max_waiting = max_waiting
        self._max_in_line = max_in_line
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()
        self._names: OrderedDict[str, _Name] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many tries wait."""
        return self._waiting

    @property
    def kept(self) -> int:
        """How many sources, names and log-ins are remembered."""
        return len(self._lines) + len(self._names) + len(self._known)

    def enter(self, source: str, name: str) -> Deferred[Attempt]:
        """Let a try begin.

        Args:
            source: Where it comes from, as
                :func:`~rtchat.core.access.addresses.source_key` names it; "" is no single source
                (a Unix socket, a front proxy), so only the name makes it wait.
            name: The name of the user, known or not.

        Returns:
            Fires when it may begin. Cancel it when the client has gone.

        Raises:
            AccessRefused: It would have to wait for too long (in the Deferred).
            LimitExceeded: Too many wait (in the Deferred).
        """
        pair = (source, name)
        is_known = bool(source) and pair in self._known
        line = self._line(pair if is_known else (source, "")) if source else None
        if self._waiting >= self._max_waiting or (
            line is not None and len(line.waiting) >= self._max_in_line
        ):
            if line is not None and self._wrong(line) >= self._free:
                return fail(AccessRefused(f"too many wrong passwords from {source}"))
            return fail(LimitExceeded(*BUSY))
        attempt = Attempt(self, source, name, line, is_known=is_known)
        self._waiting += 1
        if line is None:
            self._begin(attempt)
        else:
            attempt.deadline_s = self._clock.seconds() + self._max_wait_s
            line.waiting.append(attempt)
            self._release(line)
        return attempt.begun

    def give_up(self, attempt: Attempt) -> None:
        """Take back a try that has not begun: the client has gone."""
        self._waiting -= 1
        line = attempt.line
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None
            attempt.void()
        elif line is not None:
            line.waiting.remove(attempt)
            self._release(line)

    def settle(self, attempt: Attempt, outcome: int) -> None:
        """Take the outcome of a try: 1 is right, -1 is wrong, 0 is none."""
        line = attempt.line
        if line is not None:
            line.in_flight -= 1
        if outcome > 0:
            self._note_right(attempt)
        elif outcome < 0:
            self._note_wrong(attempt)
        if line is not None:
            self._release(line)

    # What was tried

    def _note_right(self, attempt: Attempt) -> None:
        line = attempt.line
        if line is None:
            return
        count = line.by_name.pop(attempt.name, 0)
        line.wrong = max(0, line.wrong - count)
        if line.wrong < self._free:
            line.free_s = 0.0
        if attempt.is_known:
            self._known.move_to_end((attempt.source, attempt.name))
            return
        name = self._names.get(attempt.name)
        if name is not None and count:
            name.wrong = max(0, name.wrong - count)
        self._known[attempt.source, attempt.name] = None
        self._known.move_to_end((attempt.source, attempt.name))
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)

    def _note_wrong(self, attempt: Attempt) -> None:
        now_s = self._clock.seconds()
        line = attempt.line
        if line is not None:
            line.wrong = self._wrong(line) + 1
            line.last_s = now_s
            line.free_s = now_s + self._pause_s(line.wrong, self._max_pause_s)
            line.by_name[attempt.name] = line.by_name.pop(attempt.name, 0) + 1
            if len(line.by_name) > _NAMES_OF_A_LINE:
                line.by_name.popitem(last=False)
        if attempt.is_known:
            return
        name = self._names.get(attempt.name)
        if name is None:
            self._make_room(self._names)
            name = self._names[attempt.name] = _Name()
        self._names.move_to_end(attempt.name)
        name.wrong = self._wrong(name) + 1
        name.last_s = now_s

    def _pause_s(self, wrong: int, longest_s: float) -> float:
        """Return how long to wait after so many wrong tries."""
        if wrong < self._free:
            return 0.0
        return min(2.0 ** min(wrong - self._free, 30), longest_s)

    def _wrong(self, record: _Record) -> int:
        """Return how many wrong tries are remembered."""
        if record.wrong and self._clock.seconds() - record.last_s >= self._forget_s:
            record.wrong = 0
            if isinstance(record, _Line):
                record.by_name.clear()
        return record.wrong

    def _line(self, key: tuple[str, str]) -> _Line:
        line = self._lines.get(key)
        if line is None:
            self._make_room(self._lines)
            line = self._lines[key] = _Line(key)
        else:
            self._lines.move_to_end(key)
        return line

    def _make_room(self, table: OrderedDict[_Key, _Kept]) -> None:
        """Forget the oldest records that are of no use any more, two at most."""
        for _ in range(2):
            if not table:
                return
            key, record = next(iter(table.items()))
            if record.is_used:
                table.move_to_end(key)
            elif len(table) < self._max_kept and self._wrong(record):
                return
            else:
                del table[key]

    # Who may begin

    def _release(self, line: _Line) -> None:
        """Let those at the head of a line begin whose time has come."""
        if line.is_released:
            return  # an outcome in the loop below, which goes on
        line.is_released = True
        now_s = self._clock.seconds()
        while line.waiting:
            head = line.waiting[0]
            wrong = self._wrong(line)
            if head.deadline_s <= now_s:
                self._waiting -= 1
                line.waiting.popleft().begun.errback(
                    AccessRefused(f"too many wrong passwords from {line.key[0]}")
                    if wrong >= self._free
                    else LimitExceeded(*BUSY)
                )
                continue
            allowed = 1 if self._is_slowed(head) else max(1, self._free - wrong)
            if line.in_flight >= allowed or line.free_s > now_s:
                break
            line.in_flight += 1
            self._begin(line.waiting.popleft())
        line.is_released = False
        self._set_timer(line)
        if not line.is_used and not line.wrong:
            self._lines.pop(line.key, None)

    def _set_timer(self, line: _Line) -> None:
        if line.timer is not None:
            if line.timer.active():
                line.timer.cancel()
            line.timer = None
        if line.waiting:
            now_s = self._clock.seconds()
            next_s = line.waiting[0].deadline_s
            if line.free_s > now_s:
                next_s = min(next_s, line.free_s)
            line.timer = self._clock.callLater(max(0.0, next_s - now_s), self._release, line)

    def _is_slowed(self, attempt: Attempt) -> bool:
        """Return whether the name has had too many wrong tries, wherever they came from."""
        name = None if attempt.is_known else self._names.get(attempt.name)
        return name is not None and self._wrong(name) >= self._free

    def _begin(self, attempt: Attempt) -> None:
        """Let a try begin as soon as the name allows it."""
        wait_s = 0.0
        if self._is_slowed(attempt):
            name = self._names[attempt.name]
            until_s = name.last_s + self._pause_s(name.wrong, self._max_name_wait_s)
            wait_s = until_s - self._clock.seconds()
        if wait_s > 0:
            attempt.timer = self._clock.callLater(wait_s, self._fire, attempt)
        else:
            self._fire(attempt)

    def _fire(self, attempt: Attempt) -> None:
        attempt.timer = None
        self._waiting -= 1
        attempt.begun.callback(attempt)
