"""The web server: the page, files, health.

The names below are imported on first use, because an eager import of ``WebSocketResource`` would
be circular.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtchat.net.web.site import PageSite
    from rtchat.net.websocket.upgrade import WebSocketResource
else:
    _MODULES = {
        "PageSite": "rtchat.net.web.site",
        "WebSocketResource": "rtchat.net.websocket.upgrade",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


__all__ = ["PageSite", "WebSocketResource"]
