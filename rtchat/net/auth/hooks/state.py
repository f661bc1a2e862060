"""Whether a hook answers: what ``/health`` shows of it, and one line of the log for each change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from rtchat.net.auth.hooks.answers import HookFailed
from rtchat.text import escaped

__all__ = ["HookState"]

_log = Logger(__package__)

_MAX_CHANGES = 10
_WINDOW_S = 60.0
_MAX_DETAIL = 300

_KNOWN_S = 120.0
"""How long a failure is a reason to take the hook for down, if it is not called again.

What turns clients away because of ``/health`` would otherwise turn away those who call it."""


class HookState:
    """Knows whether the last call of a hook has failed, and since when they do.

    A hook is down from its first failure until its next answer. A hook that fails for some visitors
    only goes up and down all the time, so at most ten changes in a minute are logged.

    Args:
        clock: Tells the time.
        wall_s: Returns the time in seconds since 1970.
        where: The hook, for the log.
        consequence: What happens meanwhile, for the log: a sentence.

    Attributes:
        failures: How many calls have failed.
        down_since_s: Since when it is down, in seconds since 1970, or None.
    """

    def __init__(
        self, clock: IReactorTime, wall_s: Callable[[], float], where: str, consequence: str
    ) -> None:
        self.failures = 0
        self.down_since_s: float | None = None
        self._clock = clock
        self._wall_s = wall_s
        self._where = where
        self._consequence = consequence
        self._kind = ""
        self._down_at_s = 0.0
        self._failed_at_s = 0.0
        self._failures_before = 0
        self._window_began_s = clock.seconds()
        self._changes = 0
        self._is_said = False

    @property
    def is_down(self) -> bool:
        """Whether the last call has failed."""
        return self.down_since_s is not None

    def problem(self) -> str:
        """Return why hooks are not reliable now, or "". The text names nothing that is private."""
        if self.down_since_s is None or self._clock.seconds() - self._failed_at_s >= _KNOWN_S:
            return ""
        since = datetime.fromtimestamp(self.down_since_s, timezone.utc)
        return f"down since {since:%Y-%m-%d %H:%M:%S} UTC: {self._kind}"

    def failed(self, failure: HookFailed) -> None:
        """Note that a call has failed."""
        self.failures += 1
        self._kind = failure.kind
        self._failed_at_s = self._clock.seconds()
        if self.is_down:
            return
        self.down_since_s = self._wall_s()
        self._down_at_s = self._clock.seconds()
        self._failures_before = self.failures - 1
        self._is_said = self._may_say()
        if not self._is_said:
            return
        detail = escaped(failure.detail, _MAX_DETAIL)
        text = "The hook {where} is down: {detail}. {consequence}"
        if failure.cause is None:
            _log.warn(text, where=self._where, detail=detail, consequence=self._consequence)
        else:
            _log.failure(
                text,
                failure=failure.cause,
                where=self._where,
                detail=detail,
                consequence=self._consequence,
            )

    def succeeded(self) -> None:
        """Note that a call was answered."""
        if self.down_since_s is None:
            return
        self.down_since_s = None
        if self._is_said:
            _log.info(
                "The hook {where} answers again, after {seconds:.0f} s and {count} failed calls.",
                where=self._where,
                seconds=self._clock.seconds() - self._down_at_s,
                count=self.failures - self._failures_before,
            )

    def _may_say(self) -> bool:
        now_s = self._clock.seconds()
        if now_s - self._window_began_s >= _WINDOW_S:
            self._window_began_s = now_s
            self._changes = 0
        self._changes += 1
        return self._changes <= _MAX_CHANGES
