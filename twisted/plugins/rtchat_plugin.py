"""Makes ``twistd rtchat`` known to Twisted.

Twisted finds this file by its place: any ``twisted/plugins`` directory on the import path
counts, as long as neither directory has an ``__init__.py``.
"""

from __future__ import annotations

import gc
from typing import Any

from twisted.application.service import ServiceMaker
from typing_extensions import override

__all__ = ["rtchat"]


class _WithoutCollections(ServiceMaker):
    """Loads the server while Python's garbage collector is off.

    Nearly everything that modules create stays in use. Collections would scan it dozens of times
    during the start, which takes a tenth of its time, and again and again while the server runs.
    """

    @property
    @override
    def options(self) -> Any:
        """The command line; reading this property loads the whole server."""
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return super().options
        finally:
            if hasattr(gc, "freeze"):  # PyPy has other garbage collectors
                gc.freeze()
            if was_enabled:
                gc.enable()


rtchat = _WithoutCollections(
    "rtchat",
    "rtchat.tap",
    "A chat page, a STOMP broker and a WebSocket gateway.",
    "rtchat",
)
