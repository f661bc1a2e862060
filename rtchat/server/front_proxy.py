"""``[front]``: reverse proxies whose word about a client's address is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtchat.config.ini import SourceLine
from rtchat.config.values import filled_text
from rtchat.core.access.addresses import AddressList

__all__ = ["FrontSettings", "read_front"]


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """The front proxies that may say whom they speak for.

    Attributes:
        trusted: Their addresses; nobody by default.
        has_proxy_header: Whether they do so with the PROXY protocol, not X-Forwarded-For.
    """

    trusted: AddressList = field(default_factory=AddressList)
    has_proxy_header: bool = False


def read_front(source_lines: Mapping[str, SourceLine]) -> FrontSettings:
    trusted, protocol = source_lines.get("trusted"), source_lines.get("protocol")
    if trusted is None:
        if protocol is not None:
            raise protocol.error(
                "trusts nobody; write trusted = … with the addresses of the front proxies, too"
            )
        return FrontSettings()
    try:
        addresses = AddressList.parse(re.findall(r"[^,\s]+", filled_text(trusted)))
    except ValueError as error:
        raise trusted.error(
            f"is not a list of addresses ({error}); write addresses, networks such as "
            "10.0.0.0/8, or unix"
        ) from None
    if not addresses:
        raise trusted.error("has no address in it; write one, such as 127.0.0.1")
    kinds = {"x-forwarded-for": False, "proxy": True}
    kind = protocol.value.lower() if protocol else "x-forwarded-for"
    if protocol is not None and kind not in kinds:
        raise protocol.error("is neither; write x-forwarded-for or proxy")
    return FrontSettings(addresses, kinds[kind])
