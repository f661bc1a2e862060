"""Fixtures of the tests of STOMP frames."""

from __future__ import annotations

import pytest
from support.parsing import (
    Reader,
    Reading,
    byte_by_byte,
    feed_all,
    split_at_each_byte,
    whole,
)

from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits


@pytest.fixture(params=[whole, split_at_each_byte, byte_by_byte], ids=lambda way: way.__name__)
def read(request: pytest.FixtureRequest) -> Reader:
    def read_every_way(
        data: bytes,
        *,
        limits: Limits = Limits(),
        version: Version | None = Version.V12,
        cache: HeadCache | None = None,
    ) -> Reading:
        readings = [
            feed_all(chunks, limits=limits, version=version, cache=cache)
            for chunks in request.param(data)
        ]
        for reading in readings:
            assert reading.frames == readings[0].frames
            assert type(reading.error) is type(readings[0].error)
        return readings[0]

    return read_every_way
