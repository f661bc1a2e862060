"""``[presence]``, ``[chat]`` and ``[rate]``: people, rooms, and how fast clients may send."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.config.ini import SourceLine
from rtchat.config.schema import read_fields
from rtchat.config.values import Reader, filled_text, seconds, whole_number, yes_no
from rtchat.core.chat.limits import ChatPolicy

__all__ = ["CHAT_KEYS", "PRESENCE_KEYS", "RATE_KEYS", "read_chat"]


def read_chat(
    presence: Mapping[str, SourceLine],
    chat: Mapping[str, SourceLine],
    rate: Mapping[str, SourceLine],
) -> ChatPolicy:
    fields = {
        **read_fields(presence, PRESENCE_KEYS),
        **read_fields(chat, CHAT_KEYS),
        **read_fields(rate, RATE_KEYS),
    }
    per_second = fields.get("messages_per_second", 0)
    if per_second:
        # At least one: less than that would never let a message through.
        fields.setdefault("burst", max(1, round(_BURST_S * per_second)))
    elif "burst" in rate:
        raise rate["burst"].error("has no rate; write messages_per_second in [rate], too")
    # Whoever writes the limit means everybody.
    return ChatPolicy(**fields, limits_programs="text.max_characters" in chat)


def _rooms(source_line: SourceLine) -> tuple[str, ...]:
    """Read which destinations are rooms."""
    rooms = [name.strip() for name in filled_text(source_line).split(",")]
    for name in rooms:
        if not name.startswith("/topic/") or name == "/topic/":
            raise source_line.error(
                f"names {name or 'nothing'} where a room belongs; write /topic/NAME, in which * "
                "stands for any letters, several with commas between them"
            )
    return tuple(dict.fromkeys(rooms))


_BURST_S = 5

PRESENCE_KEYS: Mapping[str, tuple[str, Reader]] = {
    "grace": ("grace_s", seconds(0.1, 3600, or_zero=True)),
}

CHAT_KEYS: Mapping[str, tuple[str, Reader]] = {
    "rooms": ("rooms", _rooms),
    "text.max_characters": (
        "max_text_chars",
        whole_number(1, 10_000_000, "characters", or_zero=True),
    ),
    "nick.max_characters": ("max_nick_chars", whole_number(1, 1000, "characters")),
    "nick.must_match": ("nick_must_match", yes_no),
}

RATE_KEYS: Mapping[str, tuple[str, Reader]] = {
    "messages_per_second": (
        "messages_per_second",
        seconds(0.1, 100_000, or_zero=True, unit="messages"),
    ),
    "burst": ("burst", whole_number(1, 1_000_000, "messages")),
}
