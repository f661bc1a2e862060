"""rtchat: real-time for the web in one Twisted process."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
