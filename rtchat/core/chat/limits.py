"""The settings of the chat: rooms, nicknames, text length, rate limits."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.config.keys import GIB, KIB, Setting, key

__all__ = ["ChatPolicy", "GuestRates"]


def _read_rooms(setting: Setting) -> tuple[str, ...]:
    """Return the topics in a comma-separated list, each once.

    Raises:
        ConfigError: A name is not a topic.
    """
    rooms = [name.strip() for name in setting.value.split(",")]
    for name in rooms:
        if not name.startswith("/topic/") or name == "/topic/":
            raise setting.error(
                f"names {name or 'nothing'} where a room belongs; write /topic/NAME, in which * "
                "stands for any letters, several with commas between them"
            )
    return tuple(dict.fromkeys(rooms))


@dataclass(frozen=True, slots=True)
class GuestRates:
    """The rates of clients without a user, each of a source: what :class:`ChatPolicy` says there.

    A server has other defaults: the rates of users.
    """

    messages_per_second: float = key(
        "[rate] guest.messages_per_second",
        0.0,
        unit="messages",
        low=0.1,
        high=100_000,
        or_zero=True,
    )
    burst: int = key("[rate] guest.burst", 1, unit="messages", low=1, high=1_000_000)
    subscriptions_per_second: float = key(
        "[rate] guest.subscriptions_per_second",
        500.0,
        unit="frames",
        low=0.1,
        high=100_000,
        or_zero=True,
    )
    subscriptions_burst: int = key(
        "[rate] guest.subscriptions_burst", 10_000, unit="frames", low=1, high=1_000_000
    )
    bytes_per_second: int = key(
        "[rate] guest.bytes_per_second", 0, unit="bytes", low=KIB, high=GIB, or_zero=True
    )
    bytes_burst: int = key("[rate] guest.bytes_burst", KIB, unit="bytes", low=KIB, high=1024 * GIB)
    connects_per_second: float = key(
        "[rate] guest.connects_per_second", 0.0, unit="frames", low=0.01, high=100_000, or_zero=True
    )
    connects_burst: int = key(
        "[rate] guest.connects_burst", 30, unit="frames", low=1, high=1_000_000
    )


@dataclass(frozen=True, slots=True)
class ChatPolicy:
    """The rules for people, rooms and the rate of messages.

    Attributes:
        grace_s: Time in seconds during which a person whose connection was lost keeps its
            presence. With 0, the loss is published at once.
        rooms: Patterns of the names of rooms; ``*`` stands for any run of characters.
        max_text_chars: Length of the text of a message to a room, in characters; 0 means no
            limit.
        limits_programs: Whether the text limit also applies to non-chat payloads from sessions
            without a nick. Off for backward compatibility, unless the operator sets the limit.
        max_nick_chars: Length of a nick in characters.
        nick_must_match: Whether the nick in a JSON message to a room has to be the sender's.
        messages_per_second: Average rate of the SEND frames of a user, or of a source; 0 means no
            limit.
        burst: Number of SEND frames that may come at once after a pause. A server has another
            default: the number that five seconds allow.
        subscriptions_per_second: Average rate of the SUBSCRIBE and UNSUBSCRIBE frames of a user,
            or of a source; 0 means no limit.
        subscriptions_burst: Number of such frames that may come at once after a pause.
        bytes_per_second: Average rate of the bytes in the SEND frames of a user, or of a source;
            0 means no limit.
        bytes_burst: Number of such bytes that may come at once after a pause. A server has another
            default: the number that five seconds allow.
        connects_per_second: Average rate of the CONNECT frames of a user, or of a source; 0 means
            no limit.
        connects_burst: Number of such frames that may come at once after a pause.
        guests: The rates of clients without a user; None for the same as those of users.
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
    subscriptions_per_second: float = key(
        "[rate] subscriptions_per_second", 500.0, unit="frames", low=0.1, high=100_000, or_zero=True
    )
    subscriptions_burst: int = key(
        "[rate] subscriptions_burst", 10_000, unit="frames", low=1, high=1_000_000
    )
    bytes_per_second: int = key(
        "[rate] bytes_per_second", 0, unit="bytes", low=KIB, high=GIB, or_zero=True
    )
    bytes_burst: int = key("[rate] bytes_burst", KIB, unit="bytes", low=KIB, high=1024 * GIB)
    connects_per_second: float = key(
        "[rate] connects_per_second", 0.0, unit="frames", low=0.01, high=100_000, or_zero=True
    )
    connects_burst: int = key("[rate] connects_burst", 30, unit="frames", low=1, high=1_000_000)
    guests: GuestRates | None = None
