"""``[presence]``, ``[chat]`` and ``[rate]``: people, rooms, and how fast clients may send."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import override

from rtchat.config.schema import ChatIni
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.net.json_codec import JSON
from rtchat.server.part import Gauges, Part, Server
from rtchat.server.stomp import BrokerPart

__all__ = ["ChatPart"]

_BURST_S = 5


class ChatPart(Part[ChatPolicy]):
    """Rooms, nicknames, presence and private messages.

    Attributes:
        people: The connected people.
    """

    reads = (ChatPolicy,)

    def __init__(self, settings: ChatPolicy, server: Server) -> None:
        super().__init__(settings, server)
        self._chat = open_chat(server.part(BrokerPart).broker, settings, JSON)
        self.people = self._chat.people

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> ChatPolicy:
        # An explicit limit applies to programs, too.
        policy = ini.read(ChatPolicy, limits_programs="text.max_characters" in ini.lines("chat"))
        burst = ini.lines("rate").get("burst")
        if policy.messages_per_second and burst is None:
            # At least one: with less, no message would ever get through.
            return replace(policy, burst=max(1, round(_BURST_S * policy.messages_per_second)))
        if burst is not None and not policy.messages_per_second:
            raise burst.error("has no effect without messages_per_second; set it in [rate], too")
        return policy

    @override
    def gauges(self) -> Gauges:
        return {"people": lambda: len(self.people)}
