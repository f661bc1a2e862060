"""Makes ``twistd rtchat`` known to Twisted.

Twisted finds this file by its place: any ``twisted/plugins`` directory on the import path
counts, as long as neither directory has an ``__init__.py``.
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

__all__ = ["rtchat"]

rtchat = ServiceMaker(
    "rtchat",
    "rtchat.tap",
    "A chat page, a STOMP broker and a WebSocket gateway.",
    "rtchat",
)
