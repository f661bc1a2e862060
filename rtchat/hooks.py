"""For authors of hooks in Python: what their methods get, and what they return.

::

    from rtchat.hooks import Allow, Message, Refuse, Reply, Subscription, Visitor

    class Site:
        # In chat.ini: [hooks] python = my_site.hooks:Site

        async def connect(self, visitor: Visitor) -> Reply:
            user = SESSIONS.get(visitor.cookies.get("sessionid", ""))
            return Allow(user=user.name, groups=user.groups) if user else Refuse("not logged in")

        async def subscribe(self, visitor: Visitor, subscription: Subscription) -> Reply:
            if subscription.destination == "/topic/staff" and "staff" not in visitor.groups:
                return Refuse("not of the staff")
            return None

        async def send(self, visitor: Visitor, message: Message) -> Reply:
            return Allow(body=message.text.replace("damn", "****"))

        async def unsubscribe(self, visitor: Visitor, subscription: Subscription) -> Reply:
            ...

        async def disconnect(self, visitor: Visitor) -> None:
            ...

Each method may be missing, which allows everything. An ``async def`` runs in the server's thread
and may await Deferreds; it must not block. A plain ``def`` runs in a thread, where it may wait for
a database. An exception, and a value of another type, is a failure: ``on_failure`` decides.
"""

from __future__ import annotations

from rtchat.net.auth.hooks.answers import Allow, Refuse
from rtchat.net.auth.hooks.visitor import Message, Subscription, Visitor

__all__ = ["Allow", "Message", "Refuse", "Reply", "Subscription", "Visitor"]

Reply = Allow | Refuse | None
"""What a method may return; None is the same as ``Allow()``."""
