"""The terms of the chat: rooms, nicknames, texts, rates."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ChatPolicy"]


@dataclass(frozen=True, slots=True)
class ChatPolicy:
    """What holds for people, their rooms and how fast they may send.

    They come from chat.ini's ``[presence]``, ``[chat]`` and ``[rate]``; docs/configuration.md
    lists the keys.

    Attributes:
        grace_s: Seconds in which somebody whose connection was lost may come back without
            anybody being told; 0 tells at once.
        rooms: Which destinations are rooms; ``*`` stands for any run of characters.
        max_text_chars: Characters in one message to a room; 0 is no limit.
        limits_programs: Whether that holds for programs, too: for what a session without a nick
            sends that is no chat message. What worked before there were nicks still does.
        max_nick_chars: Characters in a nick.
        nick_must_match: Whether a JSON message to a room has to bear its sender's nick.
        messages_per_second: SEND frames of one session, on average; 0 is no limit.
        burst: How many of them may come at once after a silence.
    """

    grace_s: float = 5.0
    rooms: tuple[str, ...] = ("/topic/chat", "/topic/chat.*")
    max_text_chars: int = 4000
    limits_programs: bool = False
    max_nick_chars: int = 32
    nick_must_match: bool = True
    messages_per_second: float = 0.0
    burst: int = 1
