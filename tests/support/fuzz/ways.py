"""The ways in which the same bytes can reach a server: the wire, the cuts, the short ways."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest import mock

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.publishing import Publishing
from rtchat.core.flow.outbound import Outbound
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.parser import FrameParser
from rtchat.core.websocket.reader import FrameReader
from rtchat.net.connection.writer import ConnectionWriter

__all__ = ["USUAL", "WAYS", "WIRES", "Way", "forget", "pieces_of"]

WIRES = ("tcp", "websocket", "deflate")
CUTS = ("whole", "bytes", "random")
_BYTE = re.compile(rb"(.)\1{15,}|.", re.DOTALL)  # what repeats itself tells nothing new


@dataclass(frozen=True)
class Way:
    """How bytes get in and out.

    Attributes:
        wire: One of :data:`WIRES`.
        cuts: What one read has: a whole step, a byte, or any piece.
        has_short_ways: Whether caches and fast paths are in use.
    """

    wire: str
    cuts: str
    has_short_ways: bool

    def __str__(self) -> str:
        """Return it in words."""
        short = "" if self.has_short_ways else ", without short ways"
        return f"{self.wire}, {self.cuts}{short}"

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Let the short ways be closed meanwhile, if this way is without."""
        with ExitStack() as stack:
            if not self.has_short_ways:
                for owner, name, instead in _LONG_WAYS:
                    stack.enter_context(mock.patch.object(owner, name, instead))
            yield


WAYS = tuple(
    Way(wire, cuts, has_short_ways)
    for wire in WIRES
    for cuts in CUTS
    for has_short_ways in (True, False)
)
"""All of them."""

USUAL = Way("tcp", "whole", has_short_ways=True)
"""The way that the others are compared with."""


def _log_in(parser: FrameParser, version: Version) -> None:
    _REAL_LOG_IN(parser, version)
    parser._reads_short_acks = False


_REAL_LOG_IN = FrameParser.log_in
_LONG_WAYS: Sequence[tuple[Any, str, Any]] = (
    (FrameParser, "log_in", _log_in),
    (FrameParser, "short_acks", lambda parser: []),
    (FrameParser, "same_head_bodies", lambda parser, frame, most: []),
    (FrameReader, "plain_messages", lambda reader: []),
    (Publishing, "max_run", lambda publishing, route, frame: 0),
    (ConnectionWriter, "flush_shared", Outbound.flush_shared),
)


def forget(broker: Broker) -> None:
    """Empty the caches of a broker."""
    broker.heads.max_head_bytes = 0
    for version in Version:
        broker.heads.of(version).clear()
    broker.encoders.clear()
    broker.router.forget_routes()
    broker.router.generation += 1


def pieces_of(data: bytes, cuts: str, random: Random) -> list[bytes]:
    """Return bytes in pieces."""
    if cuts == "whole" or not data:
        return [data] if data else []
    if cuts == "bytes":
        return [found[0] for found in _BYTE.finditer(data)]
    pieces = []
    while data:
        size = random.choice((1, 2, 7, 30, 100, 1000, 5000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces
