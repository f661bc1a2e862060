"""A DISCONNECT at the end of what a client has sent, read or not."""

from __future__ import annotations

import pytest
from support.net import FakeSocket
from support.stomp import frame_bytes, message_bytes

from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.net.stomp.goodbye import has_said_goodbye

SENDS = message_bytes("/queue/a", b"x" * 5000) * 3


@pytest.mark.parametrize(
    "sent, is_goodbye",
    [
        (SENDS + frame_bytes("DISCONNECT"), True),
        (SENDS + frame_bytes("DISCONNECT", receipt="bye") + b"\n\r\n", True),
        (frame_bytes("DISCONNECT"), True),
        (b"\n" + frame_bytes("DISCONNECT"), True),
        (SENDS + b"DISCONNECT\r\n\r\n\0", True),
        (SENDS + b"DISCONNECT\n\0", True),  # as stomper writes it
        (SENDS, False),
        (b"", False),
        (SENDS + b"DISCONNECT\n", False),
        (frame_bytes("DISCONNECT") + SENDS, False),
        (message_bytes("/queue/a", b"x\nDISCONNECT\n\n"), False),
    ],
)
def test_the_last_frame_decides(sent: bytes, is_goodbye: bool) -> None:
    parser = FrameParser(Limits())
    parser.feed(sent)
    assert has_said_goodbye(parser, FakeSocket()) is is_goodbye
