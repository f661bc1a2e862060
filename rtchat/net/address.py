"""Addresses as people read them."""

from __future__ import annotations

from twisted.internet.interfaces import ITransport

__all__ = ["address_name", "peer_name"]


def address_name(address: object) -> str:
    """Give ``host:port``, with brackets around IPv6, or a Unix socket's path."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        name = getattr(address, "name", None)
        text = name.decode(errors="replace") if isinstance(name, bytes) else name
        return f"unix:{text}" if text else "unix socket"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_name(transport: ITransport) -> str:
    """Give the name of who is at the other end."""
    return address_name(transport.getPeer())
