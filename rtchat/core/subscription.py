"""One SUBSCRIBE of one session."""

from __future__ import annotations

from rtchat.core.frames import Version
from rtchat.core.message import message_prefix
from rtchat.core.outlet import Outlet

__all__ = ["Subscription"]


class Subscription:
    """What the broker needs to know of a SUBSCRIBE.

    Attributes:
        id: The id the client chose; "" when a STOMP 1.0 client chose none.
        destination: Where its messages come from.
        version: The version the client speaks.
        outlet: The client's way out.
        prefix: How this subscription's MESSAGE frames begin, encoded once.
    """

    __slots__ = ("destination", "id", "outlet", "prefix", "version")

    def __init__(
        self, subscription_id: str, destination: str, version: Version, outlet: Outlet
    ) -> None:
        self.id = subscription_id
        self.destination = destination
        self.version = version
        self.outlet = outlet
        self.prefix = message_prefix(subscription_id, version)
