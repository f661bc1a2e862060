"""A cache of parsed SEND header blocks, by their bytes."""

from __future__ import annotations

from rtchat.core.stomp.frames import Head, Version

__all__ = ["HeadCache"]


class HeadCache:
    """Remembers parsed SEND heads by their bytes, for all parsers of one server.

    A publisher repeats its header block with every message. Parsers keep SEND heads of up to
    ``max_head_bytes`` here, at most ``max_heads`` of each version; a full cache starts anew, which
    costs less than any bookkeeping of age.
    """

    __slots__ = ("_heads", "max_head_bytes", "max_heads")

    def __init__(self, max_heads: int = 1024, max_head_bytes: int = 512) -> None:
        self.max_heads = max_heads
        self.max_head_bytes = max_head_bytes
        self._heads: dict[Version, dict[bytes, Head]] = {version: {} for version in Version}

    def of(self, version: Version) -> dict[bytes, Head]:
        """Return the heads of one version; the same mapping every time."""
        return self._heads[version]
