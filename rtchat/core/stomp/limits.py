"""The limits and terms a STOMP session works under, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BrokerLimits", "ChatTerms", "HistoryLimits", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one STOMP session may use, and the heart-beats the server offers.

    Every field is a key of chat.ini's ``[broker]`` section; docs/configuration.md lists them.

    Attributes:
        login_timeout_s: Seconds from connecting to a complete CONNECT frame.
        max_login_bytes: Size of a frame, headers and body, before the client is logged in.
            A CONNECT needs a few hundred bytes; strangers get no more room than that.
        max_frame_bytes: Size of a frame's body after login.
        max_headers: Header lines in one frame.
        max_header_bytes: Length of one header line.
        max_subscriptions: Subscriptions open at once in one session.
        max_backlog_bytes: Bytes that may wait for a client that does not read.
        max_transactions: Transactions open at once in one session.
        max_transaction_actions: SEND, ACK and NACK frames in one transaction.
        prefetch: Unacknowledged messages a subscription may hold when it does not say
            ``prefetch-count``; 0 is no limit.
        heartbeat_send_ms: How often the server can send a heart-beat; 0 is never.
        heartbeat_receive_ms: How often the server would like one; 0 is never.
        min_heartbeat_ms: The shortest interval the server agrees to.
        show_server: Whether CONNECTED carries the ``server`` header.
    """

    login_timeout_s: float = 10.0
    max_login_bytes: int = 64 * 1024
    max_frame_bytes: int = 4 * 1024 * 1024
    max_headers: int = 100
    max_header_bytes: int = 8 * 1024
    max_subscriptions: int = 1000
    max_backlog_bytes: int = 1024 * 1024
    max_transactions: int = 16
    max_transaction_actions: int = 1024
    prefetch: int = 0
    heartbeat_send_ms: int = 10_000
    heartbeat_receive_ms: int = 10_000
    min_heartbeat_ms: int = 1_000
    show_server: bool = True


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What all sessions of a server share.

    Attributes:
        max_queue_messages: Messages a queue holds, unacknowledged ones included, before its
            publishers have to wait.
        max_queue_bytes: The same in bytes of body and headers.
        max_deliveries: How often a message is delivered before it goes to the dead-letter
            queue; 0 is for ever.
        max_bytes: What all queues, transactions and backlogs may hold together; 0 is no limit.
    """

    max_queue_messages: int = 10_000
    max_queue_bytes: int = 64 * 1024 * 1024
    max_deliveries: int = 20
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What kept messages may use.

    Attributes:
        max_destinations: Destinations with kept messages.
        max_destination_bytes: Bytes of body and headers that are kept of one destination.
        max_memory_bytes: Bytes of kept messages in memory; all are in the file.
    """

    max_destinations: int = 10_000
    max_destination_bytes: int = 16 * 1024 * 1024
    max_memory_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChatTerms:
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
