"""How many sessions one user may have at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from typing_extensions import override

from rtchat.core.broker.gate import Admission, Gate
from rtchat.core.broker.principal import Principal
from rtchat.errors import LimitExceeded

__all__ = ["UserSessions"]


class UserSessions(Gate):
    """Refuses a user who has as many sessions as are allowed.

    Args:
        maximum: How many they are.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._counts: Counter[str] = Counter()
        self._users: dict[Principal, str] = {}

    @override
    def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
        user = principal.user
        if user:
            if self._counts[user] >= self._maximum:
                raise LimitExceeded(
                    f"too many connections of one user, {self._maximum} are allowed",
                    "Close others, or try again later. The limit is connections.per_user of the "
                    "server.",
                )
            self._counts[user] += 1
            self._users[principal] = user
        return Admission({})

    @override
    def leave(self, principal: Principal, now: float) -> None:
        user = self._users.pop(principal, "")
        if user:
            self._counts[user] -= 1
            if not self._counts[user]:
                del self._counts[user]
