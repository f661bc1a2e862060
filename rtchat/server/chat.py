"""``[presence]``, ``[chat]`` and ``[rate]``: people, rooms, and how fast clients may send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.schema import ChatIni
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy, GuestRates
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.net.json_codec import JSON
from rtchat.server.part import Gauges, Part, Server
from rtchat.server.stomp import BrokerPart

__all__ = ["ChatPart"]

_BURST_S = 5

_GUEST = "guest."

_BURSTS = {
    "burst": "messages_per_second",
    "bytes_burst": "bytes_per_second",
    "connects_burst": "connects_per_second",
    "subscriptions_burst": "subscriptions_per_second",
}
"""The rate that each burst belongs to."""

_SECONDS_WORTH = ("burst", "bytes_burst")
"""Those that are as much as some seconds allow, if the file does not say how much."""

_Rates = TypeVar("_Rates", ChatPolicy, GuestRates)


def _with_bursts(rates: _Rates, rate_lines: Mapping[str, SourceLine], prefix: str) -> _Rates:
    """Return rates with the bursts that the file does not say."""
    for burst, rate in _BURSTS.items():
        per_second, line = getattr(rates, rate), rate_lines.get(prefix + burst)
        if line is not None and not per_second:
            raise line.error(f"has no effect without {prefix}{rate}; set it in [rate], too")
        is_new = line is None and per_second and prefix + rate in rate_lines
        if is_new and burst in _SECONDS_WORTH:
            # At least one: with less, no message would ever get through.
            rates = replace(rates, **{burst: max(1, round(_BURST_S * per_second))})
    return rates


class ChatPart(Part[ChatPolicy]):
    """Rooms, nicknames, presence and private messages.

    Attributes:
        people: The connected people.
    """

    reads = (ChatPolicy, GuestRates)

    def __init__(self, settings: ChatPolicy, server: Server) -> None:
        super().__init__(settings, server)
        stomp = server.part(BrokerPart)
        self._chat = open_chat(stomp.broker, settings, JSON)
        self.people = self._chat.people
        users, guests = settings, settings.guests or settings
        if users.connects_per_second or guests.connects_per_second:
            self._pace_connects(server, users, guests)

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> ChatPolicy:
        # An explicit limit applies to programs, too.
        policy = ini.read(ChatPolicy, limits_programs="text.max_characters" in ini.lines("chat"))
        rate_lines = ini.lines("rate")
        policy = _with_bursts(policy, rate_lines, "")
        if any(name.startswith(_GUEST) for name in rate_lines):
            as_users = {each.name: getattr(policy, each.name) for each in fields(GuestRates)}
            guests = _with_bursts(ini.read(GuestRates, **as_users), rate_lines, _GUEST)
            policy = replace(policy, guests=guests)
        return policy

    def _pace_connects(
        self, server: Server, users: ChatPolicy, guests: ChatPolicy | GuestRates
    ) -> None:
        """Let the CONNECTs of a user or source that come too fast wait, or refuse them."""
        from rtchat.net.stomp.connect_rate import PacedConnects

        stomp = server.part(BrokerPart)
        stomp.broker.authenticator = PacedConnects(
            stomp.broker,
            server.clock,
            stomp.broker.authenticator,
            users=_connects_of(users),
            guests=_connects_of(guests),
            login_timeout_s=stomp.settings.session.login_timeout_s,
        )

    @override
    def gauges(self) -> Gauges:
        return {"people": lambda: len(self.people)}


def _connects_of(rates: ChatPolicy | GuestRates) -> TokenBuckets | None:
    if not rates.connects_per_second:
        return None
    return TokenBuckets(rates.connects_per_second, rates.connects_burst)
