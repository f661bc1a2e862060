"""The rules of the chat: rooms, nicknames, lengths of texts, rates."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.config.keys import Setting, key

__all__ = ["ChatPolicy"]


def _read_rooms(setting: Setting) -> tuple[str, ...]:
    """Read names of topics, separated by commas."""
    rooms = [name.strip() for name in setting.value.split(",")]
    for name in rooms:
        if not name.startswith("/topic/") or name == "/topic/":
            raise setting.error(
                f"names {name or 'nothing'} where a room belongs; write /topic/NAME, in which * "
                "stands for any letters, several with commas between them"
            )
    return tuple(dict.fromkeys(rooms))


@dataclass(frozen=True, slots=True)
class ChatPolicy:
    """The rules for people, their rooms and how fast they may send.

    Attributes:
        grace_s: Seconds in which a person whose connection was lost may come back before
            anyone is told; 0 tells at once.
        rooms: Which destinations are rooms; ``*`` stands for any run of characters.
        max_text_chars: Characters in one message to a room; 0 is no limit.
        limits_programs: Whether the limit also applies to messages that are no chat messages and
            come from sessions without a nick. Off unless the operator sets the limit: programs
            that worked before there were nicks go on working.
        max_nick_chars: Characters in a nick.
        nick_must_match: Whether a JSON message to a room has to carry its sender's nick.
        messages_per_second: SEND frames of one session, on average; 0 is no limit.
        burst: How many of them may come at once after a silence. A server has another default:
            as many as five seconds allow.
    """

    grace_s: float = key("[presence] grace", 5.0, unit="seconds", low=0.1, high=3600, or_zero=True)
    rooms: tuple[str, ...] = key(
        "[chat] rooms",
        ("/topic/chat", "/topic/chat.*"),
        unit="topics with commas; `*` is any run of letters",
        read=_read_rooms,
    )
    max_text_chars: int = key(
        "[chat] text.max_characters",
        4000,
        unit="characters",
        low=1,
        high=10_000_000,
        or_zero=True,
    )
    limits_programs: bool = False
    max_nick_chars: int = key("[chat] nick.max_characters", 32, unit="characters", low=1, high=1000)
    nick_must_match: bool = key("[chat] nick.must_match", True)
    messages_per_second: float = key(
        "[rate] messages_per_second", 0.0, unit="messages", low=0.1, high=100_000, or_zero=True
    )
    burst: int = key("[rate] burst", 1, unit="messages", low=1, high=1_000_000)
