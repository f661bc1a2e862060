"""Access control: the access list, host names and addresses."""

from __future__ import annotations

from rtchat.core.access.hosts import HostList, Target, normal_host
from rtchat.core.access.rules import ANYONE, SELF, AccessList, AccessRule, Source

__all__ = [
    "ANYONE",
    "SELF",
    "AccessList",
    "AccessRule",
    "HostList",
    "Source",
    "Target",
    "normal_host",
]
