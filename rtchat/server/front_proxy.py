"""``[front]``: trusted reverse proxies, which name the address of the client."""

from __future__ import annotations

import re
from dataclasses import dataclass

from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.config.schema import ChatIni
from rtchat.core.access.addresses import AddressList
from rtchat.server.part import Part

__all__ = ["FrontProxyPart", "FrontSettings"]


def _read_addresses(source_line: SourceLine) -> AddressList:
    try:
        addresses = AddressList.parse(re.findall(r"[^,\s]+", source_line.value))
    except ValueError as error:
        raise source_line.error(
            f"is not a list of addresses ({error}); write addresses, networks such as "
            "10.0.0.0/8, or unix"
        ) from None
    if not addresses:
        raise source_line.error("has no address in it; write one, such as 127.0.0.1")
    return addresses


def _read_protocol(source_line: SourceLine) -> bool:
    protocols = {"x-forwarded-for": False, "proxy": True}
    if source_line.value.lower() not in protocols:
        raise source_line.error("cannot be used; write x-forwarded-for or proxy")
    return protocols[source_line.value.lower()]


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """The trusted reverse proxies, and how they name the client.

    Attributes:
        trusted: Their addresses; by default no proxy is trusted.
        has_proxy_header: Whether they use the PROXY protocol rather than X-Forwarded-For.
    """

    trusted: AddressList = key(
        "[front] trusted",
        AddressList(),
        unit="addresses, networks, `unix`; with commas or spaces",
        read=_read_addresses,
    )
    has_proxy_header: bool = key(
        "[front] protocol", False, unit="`x-forwarded-for` or `proxy`", read=_read_protocol
    )


class FrontProxyPart(Part[FrontSettings]):
    """Provides the trusted reverse proxies to the ports and the web server."""

    reads = (FrontSettings,)

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> FrontSettings:
        source_lines = ini.lines("front")
        if "protocol" in source_lines and "trusted" not in source_lines:
            raise source_lines["protocol"].error(
                "has no effect without trusted; write trusted = … with the addresses of the front "
                "proxies, too"
            )
        return ini.read(FrontSettings)
