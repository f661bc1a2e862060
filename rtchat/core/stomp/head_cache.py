"""A cache of parsed SEND header blocks, by their bytes."""

from __future__ import annotations

from typing import Any

from rtchat.core.stomp.frames import Version

__all__ = ["Head", "HeadCache"]


Head = tuple[str, dict[str, str], int | None, dict[object, Any]]


class HeadCache:
    """Remembers parsed SEND heads by their bytes, for all parsers of one server.

    A publisher repeats its header block with every message. Only SEND heads up to
    ``max_head_bytes`` are kept, at most ``max_heads`` of them; a full cache starts anew, which
    costs less than any bookkeeping of age.
    """

    __slots__ = ("_heads", "max_head_bytes", "max_heads")

    def __init__(self, max_heads: int = 1024, max_head_bytes: int = 512) -> None:
        self.max_heads = max_heads
        self.max_head_bytes = max_head_bytes
        self._heads: dict[Version, dict[bytes, Head]] = {version: {} for version in Version}

    def of(self, version: Version) -> dict[bytes, Head]:
        """Give the heads of one version; the same mapping every time."""
        return self._heads[version]

    def remember(self, version: Version, block: bytes, head: Head) -> None:
        """Keep a head if it is of the kind that comes again."""
        if len(block) > self.max_head_bytes or head[0] != "SEND":
            return
        heads = self._heads[version]
        if len(heads) >= self.max_heads:
            heads.clear()
        heads[block] = head
