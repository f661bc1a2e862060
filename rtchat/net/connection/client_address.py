"""The address of the client that a connection comes from."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from rtchat.core.access.addresses import AddressList, plain_address
from rtchat.core.access.forwarded import client_behind
from rtchat.net.connection.transport import address_name
from rtchat.text import escaped

__all__ = ["ClientAddress", "ForwardedAddress", "forwarded_client"]


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class ClientAddress:
    """A client: the address it comes from, and the origin of its page.

    Attributes:
        host: The IP address, or None for a Unix socket.
        port: Its port, or 0 when it is unknown.
        name: Both, as the log shows them.
        origin: The ``Origin`` header, or None without one.
        user: The user, if a rule of the access list has asked who it is, or "".
    """

    host: str | None
    port: int
    name: str
    origin: str | None = None
    user: str = ""

    @classmethod
    def at(
        cls, address: IAddress | None, origin: str | None = None, user: str = ""
    ) -> ClientAddress:
        """Return the client at the other end of a connection."""
        host: str | None = getattr(address, "host", None)
        port: int = getattr(address, "port", 0)
        return cls(host and plain_address(host), port, address_name(address), origin, user)

    def __str__(self) -> str:
        page = "no Origin" if self.origin is None else escaped(self.origin)
        user = f", user {escaped(self.user)}" if self.user else ""
        return f"{self.name} ({page}{user})"


@implementer(IAddress)
@dataclass(frozen=True, slots=True)
class ForwardedAddress:
    """An address that a front proxy names."""

    host: str
    port: int


def forwarded_client(peer: IAddress, forwarded: list[str], trusted: AddressList) -> IAddress:
    """Return the client that ``X-Forwarded-For`` names, or the peer if it is not trusted to."""
    if not forwarded or not trusted:
        return peer
    named = client_behind(getattr(peer, "host", None), forwarded, trusted)
    return peer if named is None else ForwardedAddress(*named)
