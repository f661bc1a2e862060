"""A WebSocket as a transport for any Twisted protocol.

The names below are imported on first use, so that a server without WebSockets loads none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtchat.net.websocket.factory import WebSockets
    from rtchat.net.websocket.messages import MessageProtocol
    from rtchat.net.websocket.transport import WebSocket
    from rtchat.net.websocket.upgrade import WebSocketResource
else:
    _MODULES = {
        "MessageProtocol": "rtchat.net.websocket.messages",
        "WebSocket": "rtchat.net.websocket.transport",
        "WebSocketResource": "rtchat.net.websocket.upgrade",
        "WebSockets": "rtchat.net.websocket.factory",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


__all__ = ["MessageProtocol", "WebSocket", "WebSocketResource", "WebSockets"]
