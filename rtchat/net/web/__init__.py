"""The web server: the page, files, health."""

from __future__ import annotations

from rtchat.net.web.site import PageSite

__all__ = ["PageSite"]
