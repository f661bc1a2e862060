"""How often a user or a source may connect: CONNECTs that come too fast wait, or are refused."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from typing_extensions import override

from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["MAX_WAIT_S", "PacedConnects"]

MAX_WAIT_S = 5.0
"""How long a CONNECT waits for its turn; one that would have to wait longer is refused."""

_EVERYBODY = Identified("", None)


class PacedConnects(Authenticator):
    """Lets CONNECTs wait, before it is found out who they are, and once that is known.

    A CONNECT takes a token of its source before anything is asked. One of a user gives it back,
    and takes one of the user. So those who cannot log in pay for trying, and the users behind one
    address do not pay for each other.

    Args:
        broker: The broker.
        clock: Runs timers.
        inner: Finds out who it is; None if all are anonymous and may do everything.
        users: The rates of users; None for no limit.
        guests: The rates of sources; None for no limit.
        login_timeout_s: How long a client may take to log in.
    """

    def __init__(
        self,
        broker: Broker,
        clock: IReactorTime,
        inner: Authenticator | None,
        *,
        users: TokenBuckets | None,
        guests: TokenBuckets | None,
        login_timeout_s: float,
    ) -> None:
        self.broker = broker
        self.clock = clock
        self.inner = inner
        self.users = users
        self.guests = guests
        self.max_wait_s = min(MAX_WAIT_S, login_timeout_s / 2)

    @override
    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        connect = _Connect(self, principal, visitor)
        connect.begin()
        return connect.question

    @override
    def opened(self, principal: Principal) -> None:
        if self.inner is not None:
            self.inner.opened(principal)

    @override
    def left(self, principal: Principal) -> None:
        if self.inner is not None:
            self.inner.left(principal)


class _Connect:
    """One CONNECT.

    Attributes:
        question: Who it is; answered when it may go on.
    """

    def __init__(self, paced: PacedConnects, principal: Principal, visitor: Visitor) -> None:
        self.question: Question[Identified] = Question()
        self.question.on_dropped = self._dropped
        self._paced = paced
        self._principal = principal
        self._visitor = visitor
        self._asked: Question[Identified] | None = None
        self._timer: IDelayedCall | None = None
        self._waits_for: tuple[TokenBuckets, str] | None = None

    def begin(self) -> None:
        """Take a token of the source, and then go on."""
        if self._take(self._paced.guests, self._visitor.source):
            self._ask()

    def _take(self, buckets: TokenBuckets | None, key: str) -> bool:
        """Take a token; return whether it is there now, otherwise go on later or refuse."""
        if buckets is None or not key:
            return True
        paced = self._paced
        delay_s = buckets.reserve(key, paced.clock.seconds())
        if delay_s > paced.max_wait_s:
            buckets.give_back(key)
            whose = "one user" if self._asked is not None else "one address"
            self.question.refuse(
                LimitExceeded(
                    f"too many connects of {whose}",
                    f"Try again in {delay_s:.0f} seconds. The limit is connects_per_second of the "
                    "server.",
                )
            )
            return False
        if delay_s > 0:
            self._waits_for = buckets, key
            self._timer = paced.clock.callLater(delay_s, self._go_on)
            return False
        return True

    def _go_on(self) -> None:
        """The token is there."""
        self._timer = self._waits_for = None
        with self._paced.broker.turn.part:
            if self._asked is None:
                self._ask()
            else:
                self.question.answer(self._asked.take())

    def _ask(self) -> None:
        """Find out who it is."""
        inner = self._paced.inner
        if inner is None:
            self.question.answer(_EVERYBODY)
            return
        self._asked = asked = inner.identify(self._principal, self._visitor)
        if asked.is_answered:
            self._answered()
        else:
            asked.on_answer = self._answered

    def _answered(self) -> None:
        assert self._asked is not None
        try:
            found = self._asked.take()
        except ProtocolError as problem:
            self.question.refuse(problem)
            return
        if found.user:
            paced, source = self._paced, self._visitor.source
            if paced.guests is not None and source:
                paced.guests.give_back(source)
            if not self._take(paced.users, f"user {found.user}"):
                return
        self.question.answer(found)

    def _dropped(self) -> None:
        """The client has gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waits_for is not None:
            buckets, key = self._waits_for
            buckets.give_back(key)
        if self._asked is not None:
            self._asked.drop()
