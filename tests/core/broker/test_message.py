"""What a message counts in limits: bytes, as the documentation says, not characters."""

from __future__ import annotations

import pytest
from support.core import Server, message_size
from support.stomp import frame_bytes

from rtchat.core.broker.message import Message, size_of
from rtchat.core.stomp.frames import Frame

EMOJI = "\N{GRINNING FACE}" * 2000


def test_a_header_counts_in_bytes_of_utf_8() -> None:
    server = Server()
    headers = {"destination": "/queue/a", "mood": EMOJI}
    server.client().say("SEND", "x", **headers)
    assert (
        server.broker.budget.used
        == message_size(headers, b"x")
        == 512 + 1 + 8000 + len("SEND\ndestination:/queue/a\nmood:")
    )


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
    assert size_of(made) == Message("1", "/topic/a", made).size == 512 + 4 + len(block)
