"""Twisted's credentials checkers, by their strcred text: ``unix``, ``file:…``, plug-ins.

Twisted's own checkers answer at once and read files for it, so they are called in a thread. A
checker of a plug-in is called in the reactor's thread, where it may return a Deferred, as Twisted
has it; one that waits for something says so with an attribute ``is_blocking = True`` and is called
in a thread.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnhandledCredentials
from twisted.cred.strcred import InvalidAuthType, findCheckerFactories, findCheckerFactory
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.errors import ConfigError, LimitExceeded
from rtchat.net.auth.password_file import PasswordFile
from rtchat.net.auth.slowdown import BUSY
from rtchat.text import printable

__all__ = ["CredChecker", "WrongAnswer"]

_log = Logger()

_TIMEOUT_S = 10.0
_MAX_ASKED = 64


class WrongAnswer(Exception):
    """The checker has answered with something that cannot be used; the text says what."""


class CredChecker:
    """A checker of Twisted.

    Args:
        text: Its strcred text.
        clock: Runs the time-outs.
        timeout_s: How long an answer may take that is not there at once.
        max_asked: How many such answers may be missing at once.

    Attributes:
        text: Its kind, for the log: what follows the colon may be secret.
        is_blocking: Whether it has to be called in a thread (:meth:`check_here`); if not, it is
            asked in the reactor's thread (:meth:`ask`).

    Raises:
        ConfigError: There is no such checker, or it cannot check passwords.
    """

    def __init__(
        self,
        text: str,
        clock: IReactorTime,
        *,
        timeout_s: float = _TIMEOUT_S,
        max_asked: int = _MAX_ASKED,
    ) -> None:
        self.text = text.partition(":")[0]
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_asked = max_asked
        self._asked = 0
        self._checker = _make(text)
        self.is_blocking = _is_blocking(self._checker)

    def check_here(self, name: str, password: str) -> bool:
        """Return whether this is the user's password. It takes its time: call it in a thread.

        Raises:
            WrongAnswer: The checker has not answered at once, or not with the user's name.
            Exception: Whatever the checker has raised.
        """
        answers: list[object] = []
        maybeDeferred(self._checker.requestAvatarId, _credentials(name, password)).addBoth(
            answers.append
        )
        if not answers:
            raise WrongAnswer(
                f"the checker {self.text} was called in a thread and has returned a Deferred that "
                "waits; let its is_blocking be False"
            )
        return self._is_right(answers[0], name)

    def ask(self, name: str, password: str) -> Deferred[bool]:
        """Return whether this is the user's password.

        Raises:
            WrongAnswer: The checker has not answered with the user's name (in the Deferred).
            LimitExceeded: Too many answers are missing (in the Deferred).
            TimeoutError: It has not answered in time (in the Deferred).
            Exception: Whatever the checker has raised (in the Deferred).
        """
        if self._asked >= self._max_asked:
            return fail(LimitExceeded(*BUSY))
        self._asked += 1
        answer: Deferred[Any] = maybeDeferred(
            self._checker.requestAvatarId, _credentials(name, password)
        )
        answer.addTimeout(self._timeout_s, self._clock)
        answer.addBoth(self._answered, name)
        return answer

    def _answered(self, answer: object, name: str) -> bool:
        self._asked -= 1
        return self._is_right(answer, name)

    def _is_right(self, answer: object, name: str) -> bool:
        """Return whether an answer lets the user in: it is the name of that user."""
        if isinstance(answer, Failure):
            if answer.check(LoginFailed) and not answer.check(UnhandledCredentials):
                return False
            answer.raiseException()
        if answer == ():  # Twisted's ANONYMOUS
            return False
        if isinstance(answer, bytes):
            answer = answer.decode("utf-8", "replace")
        if answer != name:
            raise WrongAnswer(
                f"the checker {self.text} let {printable(name)} in as {printable(str(answer))}; it "
                "has to answer with the name that was given"
            )
        return True


def _credentials(name: str, password: str) -> UsernamePassword:
    # Bytes, as all of Twisted's protocols use them.
    return UsernamePassword(
        name.encode("utf-8", "surrogatepass"), password.encode("utf-8", "surrogatepass")
    )


def _make(text: str) -> Any:
    """Return the checker of a strcred text."""
    kind, _, argument = text.partition(":")
    try:
        factory = findCheckerFactory(kind)
    except InvalidAuthType:
        kinds = ", ".join(sorted(one.authType for one in _usable_factories()))
        raise ConfigError(
            f"there is no credentials checker {printable(kind)}; use one of {kinds}, or a plug-in "
            "of your own"
        ) from None
    if IUsernamePassword not in factory.credentialInterfaces:
        raise ConfigError(
            f"the credentials checker {printable(kind)} does not check passwords; use another one"
        )
    if kind == "unix":
        _check_unix()
    if kind == "file":
        _check_file(Path(argument))
    try:
        checker = factory.generateChecker(argument)
    except Exception as error:
        raise ConfigError(
            f"the credentials checker {printable(kind)} cannot be used: {error}; its text is "
            f"{kind}:TEXT, with {factory.argStringFormat}"
        ) from error
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Made of a text, it has texts, and no protocol of Twisted's would find them.
        checker.users = {_bytes(name): _bytes(one) for name, one in checker.users.items()}
    return checker


def _usable_factories() -> list[Any]:
    return [one for one in findCheckerFactories() if IUsernamePassword in one.credentialInterfaces]


def _is_blocking(checker: Any) -> bool:
    known = getattr(checker, "is_blocking", None)
    if known is None:
        return type(checker).__module__.startswith("twisted.")
    return bool(known)


def _check_unix() -> None:
    """Check that this Python can compare with the system's passwords."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import crypt  # noqa: F401
            import spwd  # noqa: F401
        except ImportError:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise ConfigError(
                f"the credentials checker 'unix' does not work with Python {version}, which has "
                "no module crypt; use Python 3.12 or a password file"
            ) from None


def _check_file(path: Path) -> None:
    """Check that it has passwords and not hashes, which would then be passwords."""
    if not path.is_file():
        raise ConfigError(
            f"{path}, which the credentials checker 'file' names, is no file; name one with lines "
            "NAME:PASSWORD"
        )
    try:
        count = len(PasswordFile(path).names)
    except ConfigError:
        return
    if count:
        raise ConfigError(
            f"{path} has hashed passwords, and the credentials checker 'file' would take each "
            f"hash for the password; write file = {path} instead"
        )


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text
