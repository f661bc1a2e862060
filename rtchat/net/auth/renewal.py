"""``/session/token``: a session replaces its token before it expires, and stays connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from typing_extensions import override

from rtchat.core.auth.doors import RENEWAL
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.gate import Check, Gate
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.questions import Question
from rtchat.core.broker.subscription import Subscription
from rtchat.core.stomp.frames import Frame
from rtchat.errors import AccessRefused, NotAllowed, ProtocolError

__all__ = ["open_renewal"]

_NAMESPACE = "/session/"


class Renewing(Protocol):
    """Replaces the tokens of sessions."""

    def renew(self, principal: Principal, text: str) -> Question[None]:
        """Ask to replace the token of a session."""


class _Taken(Target):
    """Takes tokens, which the gate has used already."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.storage = None

    @override
    def put(self, message: Message, sender: Principal | None) -> None:
        """Do nothing: no token goes to anyone."""


class _SessionDestinations(DestinationProvider):
    """Serves the destinations that are about the session itself."""

    claims = Glob((f"{_NAMESPACE}*",))
    takes_patterns = True

    @override
    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        raise ProtocolError(
            f"{_NAMESPACE} cannot be subscribed to", f"A new token is sent to {RENEWAL}."
        )

    @override
    def unsubscribe(self, subscription: Subscription) -> None:
        """Do nothing: there are no subscriptions."""

    @override
    def target(self, name: str) -> Target:
        if name != RENEWAL:
            raise ProtocolError("no such session destination", f"There is {RENEWAL} only.")
        return _Taken(name)


class _RenewalGate(Gate):
    """Uses the token of a SEND before the SEND is confirmed."""

    concerns = Glob((RENEWAL,))

    def __init__(self, login: Renewing) -> None:
        self._login = login

    @override
    def check_for(self, destinations: Sequence[str]) -> Check | None:
        return self._check if len(destinations) == 1 else _refuse

    def _check(self, principal: Principal, frame: Frame) -> None:
        if "transaction" in frame.headers:
            _refuse(principal, frame)
        try:
            text = frame.body.decode("ascii").strip()
        except UnicodeDecodeError:
            raise AccessRefused("a new token that is no ASCII text") from None
        principal.answer_to(lambda: self._login.renew(principal, text))


def _refuse(principal: Principal, frame: Frame) -> None:
    raise NotAllowed(
        "a token with other destinations, or in a transaction",
        f"Send the new token to {RENEWAL} alone.",
    )


def open_renewal(broker: Broker, login: Renewing) -> None:
    """Let sessions replace their tokens.

    Args:
        broker: The broker.
        login: Replaces them.
    """
    broker.add_provider(_SessionDestinations())
    broker.add_gate(_RenewalGate(login))
