"""What a message counts in limits: bytes, as the documentation says, not characters."""

from __future__ import annotations

import pytest
from support.core import Server, message_size
from support.stomp import frame_bytes

from rtchat.core.broker.message import Message, size_of
from rtchat.core.stomp.frames import Frame
from rtchat.text import kept_bytes

EMOJI = "\N{GRINNING FACE}" * 2000


def test_a_header_counts_as_it_is_kept_and_as_it_is_sent() -> None:
    server = Server()
    headers = {"destination": "/queue/a", "mood": EMOJI}
    server.client().say("SEND", "x", **headers)
    sent = len("SEND\ndestination:/queue/a\nmood:") + 8000
    kept = 8000 + len("destination/queue/amood")
    assert server.waiting_bytes == message_size(headers, b"x") == 640 + 1 + sent + kept + 2 * 136


def test_one_wide_character_makes_a_header_four_times_as_large() -> None:
    server = Server()
    plain, wide = "x" * 4000, "x" * 3999 + "\N{GRINNING FACE}"
    sizes: list[int] = []
    for value in (plain, wide):
        before = server.waiting_bytes
        server.client().say("SEND", destination="/queue/a", mood=value)
        sizes.append(server.waiting_bytes - before)
    assert sizes[1] - sizes[0] > 3 * 4000


def test_a_queue_is_full_of_bytes_not_of_characters() -> None:
    server = Server()
    server.limit(max_queue_bytes=16_000)
    publisher = server.client()
    for _ in range(2):
        publisher.say("SEND", "x", destination="/queue/a", mood=EMOJI)
    publisher.say("SEND", "x", destination="/queue/a", receipt="r")
    assert publisher.is_waiting
    assert publisher.received() == []


@pytest.mark.parametrize("headers", [{}, {"a": "b"}, {"a": "\\c\\n"}, {"a": EMOJI, "b": ""}])
def test_a_frame_made_by_hand_counts_what_its_bytes_would(headers: dict[str, str]) -> None:
    plain = {
        name: value.replace("\\c", ":").replace("\\n", "\n") for name, value in headers.items()
    }
    made = Frame("SEND", plain, b"body")
    block = frame_bytes("SEND", b"", **headers).removesuffix(b"\n\n\0")
    text = sum(map(kept_bytes, [*plain, *plain.values()]))
    size = 640 + 4 + len(block) + text + 136 * len(plain)
    assert size_of(made) == Message("1", "/topic/a", made).size == size
