"""Users with passwords: of a password file, of a checker of Twisted, or of both.

A password is looked at when the slow-down lets it be, in a thread of its own. A user of the file
is checked there alone, any other name by the checker. An unknown user and a wrong password take
the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.auth.identity import is_user_name
from rtchat.errors import AccessRefused, LimitExceeded
from rtchat.net.auth.checking import CheckThreads, PasswordChecks, default_threads
from rtchat.net.auth.hashes import PasswordHash, is_password
from rtchat.net.auth.password_file import Contents, PasswordFile
from rtchat.net.auth.remembered import Remembered
from rtchat.net.auth.slowdown import Attempt, SlowDown

if TYPE_CHECKING:
    from rtchat.net.auth.strcred import CredChecker

__all__ = ["Passwords", "open_passwords"]

_log = Logger()

_LOOK_EVERY_S = 2.0
_LOOK_AGAIN_S = 0.5
_MAX_PATIENCE = 3
"""So often a look at a file that is being written is put off."""

_FAULT_KNOWN_S = 120.0
"""How long a check that has failed is a reason to say so, if there is no other check."""

_REFUSED_EVERY_S = 1.0
"""With a checker, refusals come at whole multiples of this time: it may know more quickly that
there is no such user than that a password is wrong."""


class Passwords:
    """The users who log in with passwords.

    Args:
        clock: Tells the time, and runs timers.
        threads: Where the work is done.
        file: The password file, or None.
        checker: The checker of Twisted, or None.
        checks: Who waits for a thread; by default as many run as there are threads.
        slow_down: Who waits after wrong passwords.
    """

    def __init__(
        self,
        clock: IReactorTime,
        threads: CheckThreads,
        *,
        file: PasswordFile | None = None,
        checker: CredChecker | None = None,
        checks: PasswordChecks | None = None,
        slow_down: SlowDown | None = None,
    ) -> None:
        self._clock = clock
        self._threads = threads
        self._file = file
        self._checker = checker
        self._checks = checks or PasswordChecks(threads, at_once=threads.count, clock=clock)
        self._slow_down = slow_down or SlowDown(clock)
        self._remembered = Remembered(clock)
        self._timer: IDelayedCall | None = None
        self._is_looking = False
        self._is_closed = False
        self._patience = _MAX_PATIENCE
        self._faults = {"file": "", "checker": ""}
        self._faulty_until_s = 0.0

    # What log-ins ask

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is that of a user.

        Args:
            name: The user, known or not.
            password: The password.
            source: Where it comes from, as
                :func:`~rtchat.core.access.addresses.source_key` names it; "" is no single source.

        Returns:
            Fires when it is known, which may take many seconds after wrong passwords. Cancel it
            when the client has gone.

        Raises:
            AccessRefused: The password was not looked at, or the checker has failed (in the
                Deferred); the reason is for the log.
            LimitExceeded: Too many log in at once (in the Deferred); that is no fault of theirs.
        """
        if not (is_user_name(name) and is_password(password)):
            return succeed(False)  # no user could have it
        return Deferred.fromCoroutine(self._check(name, password, source))

    def exists(self, name: str) -> bool | None:
        """Return whether there is such a user now; None if only the checker could say."""
        if self._file is not None and self._file.hash_of(name) is not None:
            return True
        return None if self._checker is not None else False

    def stamp_of(self, name: str) -> str | None:
        """Return a text that changes with a user's password; None if there is no such user.

        It is "" if only the checker knows the user.
        """
        own = self._file.hash_of(name) if self._file is not None else None
        if own is not None:
            return own.text
        return None if self._checker is None else ""

    def names(self) -> Collection[str]:
        """Return the names of all users of the file."""
        return self._file.names if self._file is not None else ()

    @property
    def problem(self) -> str:
        """Why the file as it is now is not in force, or no password could be checked; or ""."""
        problem = self._file.problem if self._file is not None else ""
        if problem or self._clock.seconds() >= self._faulty_until_s:
            return problem
        return self._faults["file"] or self._faults["checker"]

    @property
    def waiting(self) -> int:
        """How many log-ins wait: for a thread, or because of wrong passwords."""
        return self._checks.waiting + self._slow_down.waiting

    # Changes of the file

    def reload(self) -> bool:
        """Read the file again if it may have changed; return whether users are others now.

        After a mistake the users of before hold: the log and :attr:`problem` say so.
        """
        return self._file is not None and self._file.reload()

    def watch(self, on_change: Callable[[], object]) -> None:
        """Look at the file every two seconds from now on; call this when users are others.

        A file that is being written is not read before it is complete, and in any case within
        four seconds of its change. Without a file nothing happens.
        """
        if self._file is not None:
            self._look_in(_LOOK_EVERY_S, self._file, on_change)

    def close(self) -> None:
        """End all that goes on; wait some seconds at most for the checks that run."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._threads.stop()

    def _look_in(self, seconds: float, file: PasswordFile, on_change: Callable[[], object]) -> None:
        self._timer = self._clock.callLater(seconds, self._look, file, on_change)

    def _look(self, file: PasswordFile, on_change: Callable[[], object]) -> None:
        is_due = not self._is_looking and file.changed()
        if is_due and self._patience and file.is_being_written():
            self._patience -= 1
            self._look_in(_LOOK_AGAIN_S, file, on_change)
            return
        self._patience = _MAX_PATIENCE
        self._look_in(_LOOK_EVERY_S, file, on_change)
        if is_due:
            self._is_looking = True
            looked = self._threads(file.look).addCallback(self._apply, on_change)
            looked.addErrback(partial(_log.failure, "The password file was not read"))
            looked.addBoth(self._looked)

    def _apply(self, contents: Contents, on_change: Callable[[], object]) -> None:
        if self._file is not None and not self._is_closed and self._file.apply(contents):
            on_change()

    def _looked(self, _: object) -> None:
        self._is_looking = False

    # Checks

    async def _check(self, name: str, password: str, source: str) -> bool:
        attempt = await self._slow_down.enter(source, name)
        began_s = self._clock.seconds()
        where = "file"
        try:
            if self._checker is None or self.exists(name):
                is_right = await self._check_in_file(attempt, password)
            else:
                where = "checker"
                is_right = await self._ask(attempt, password, self._checker)
        except (CancelledError, LimitExceeded):
            raise
        except Exception as error:
            self._note_fault(where, f"{type(error).__name__}: {error}", Failure())
            await self._in_time(began_s)
            raise AccessRefused(f"the check has failed: {type(error).__name__}") from None
        if self._faults[where]:
            self._faults[where] = ""
            _log.info("Passwords can be checked again")
        if not is_right:
            await self._in_time(began_s)
        return is_right

    def _note_fault(self, where: str, fault: str, failure: Failure) -> None:
        """Log why a password could not be checked: once, for everyone meets the same fault."""
        fault = f"a password could not be checked: {fault}"
        self._faulty_until_s = self._clock.seconds() + _FAULT_KNOWN_S
        if fault != self._faults[where]:
            self._faults[where] = fault
            _log.failure("{fault}", failure, fault=fault)

    async def _in_time(self, began_s: float) -> None:
        """Wait until a refusal may be told."""
        if self._checker is None:
            return
        passed_s = self._clock.seconds() - began_s
        rounds = max(1, math.ceil(passed_s / _REFUSED_EVERY_S))
        waited: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(
            max(0.0, rounds * _REFUSED_EVERY_S - passed_s), waited.callback, None
        )
        await waited

    async def _check_in_file(self, attempt: Attempt, password: str) -> bool:
        """Compare with the hash of the user, or with another one for the time that it takes."""
        assert self._file is not None
        name = attempt.name
        own = self._file.hash_of(name)
        if own is not None and self._remembered.knows(name, own.text, password):
            attempt.right()
            return True
        other: PasswordHash = own or self._file.users.stand_in(name)

        def work() -> bool:
            is_equal = other.verify(password)
            return is_equal and own is not None

        def end(is_right: bool | None) -> None:
            _settle(attempt, is_right)
            if is_right and own is not None:
                self._remembered.add(name, own.text, password)

        is_right = await self._in_thread(attempt, work, end)
        # The user may have been removed, or have another password, since the check began.
        return is_right and self._file.hash_of(name) == own

    async def _ask(self, attempt: Attempt, password: str, checker: CredChecker) -> bool:
        """Ask the checker; with a file, do first what is done for a user of the file."""
        name = attempt.name
        stand_in = self._file.users.stand_in(name) if self._file is not None else None

        def work() -> bool:
            is_equal = stand_in is not None and stand_in.verify(password)
            return checker.check_here(name, password) if checker.is_blocking else is_equal

        if checker.is_blocking:
            return await self._in_thread(attempt, work, partial(_settle, attempt))
        try:
            if stand_in is not None:
                await self._in_thread(attempt, work, _ignore)
            is_right = await checker.ask(name, password)
        except CancelledError:
            attempt.wrong()  # otherwise a client could try for nothing
            raise
        except Exception:
            attempt.void()
            raise
        _settle(attempt, is_right)
        return is_right

    def _in_thread(
        self,
        attempt: Attempt,
        work: Callable[[], bool],
        on_end: Callable[[bool | None], None],
    ) -> Deferred[bool]:
        return self._checks.check(work, attempt.source, on_end, is_first=attempt.is_known)


def _ignore(result: bool | None) -> None:
    """Take a result that means nothing."""


def _settle(attempt: Attempt, is_right: bool | None) -> None:
    """Pass the outcome of a try to the slow-down."""
    if is_right:
        attempt.right()
    elif is_right is None:
        attempt.void()
    else:
        attempt.wrong()


def open_passwords(
    reactor: Any, *, file: Path | None = None, checker: str = "", threads: int = 0
) -> Passwords:
    """Return the users of a password file, of a checker, or of both.

    Args:
        reactor: The reactor.
        file: The password file.
        checker: The strcred text of a checker, or "".
        threads: How many threads check passwords; 0 is half of the cores, one to four.

    Raises:
        ConfigError: The file or the checker cannot be used.
    """
    users = PasswordFile(file) if file is not None else None
    cred = None
    if checker:
        from rtchat.net.auth.strcred import CredChecker  # loads all plug-ins

        cred = CredChecker(checker, reactor)
    return Passwords(
        reactor, CheckThreads(reactor, threads or default_threads()), file=users, checker=cred
    )
