"""A cache of parsed SEND heads, keyed by the bytes of their header block."""

from __future__ import annotations

from rtchat.core.stomp.frames import Head, Version

__all__ = ["MAX_HEAD_BYTES", "HeadCache"]

MAX_HEAD_BYTES = 512
"""Larger heads are not cached, nor is anything in them that other objects can share."""


class HeadCache:
    """Maps header blocks to parsed SEND heads; one cache serves all parsers of a server.

    Publishers tend to repeat their header block with every message. Parsers store the heads of
    SEND frames of up to ``max_head_bytes`` here, at most ``max_heads`` for each version. A full
    cache is cleared, which costs less than tracking the age of its entries.
    """

    __slots__ = ("_heads", "max_head_bytes", "max_heads")

    def __init__(self, max_heads: int = 1024, max_head_bytes: int = MAX_HEAD_BYTES) -> None:
        self.max_heads = max_heads
        self.max_head_bytes = max_head_bytes
        self._heads: dict[Version, dict[bytes, Head]] = {version: {} for version in Version}

    def of(self, version: Version) -> dict[bytes, Head]:
        """Return the mapping of header blocks to heads for one version, always the same object."""
        return self._heads[version]
