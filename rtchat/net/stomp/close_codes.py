"""How a WebSocket client learns why its session has ended."""

from __future__ import annotations

from rtchat.core.session.connection import CloseReason

__all__ = ["CLOSE_CODES"]

CLOSE_CODES = {
    CloseReason.DONE: 1000,
    CloseReason.PROTOCOL: 1007,
    CloseReason.LIMIT: 1009,
    CloseReason.REFUSED: 1008,
    CloseReason.ACCESS: 3501,
    CloseReason.NO_RIGHT: 3502,
    CloseReason.EXPIRED: 3000,
    CloseReason.REPLACED: 3500,
    CloseReason.LOGIN_TIMEOUT: 1008,
    CloseReason.SILENT: 3012,
    CloseReason.SLOW: 3008,
    CloseReason.STORAGE: 1013,
    CloseReason.SHUTDOWN: 1012,
    CloseReason.BUG: 1011,
}
"""The WebSocket close code for each reason."""
