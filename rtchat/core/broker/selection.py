"""Selectors at work: which messages a subscription gets, and what that costs a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from rtchat.core.broker.encoder import selectable_headers
from rtchat.core.broker.message import Message
from rtchat.core.flow.outbound import Cork

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = ["LOOK_WORK", "Selectors", "selects"]

LOOK_WORK = 2
"""What it costs a turn to look at a message that is passed over, whether by a selector or not."""
_HEADERS_WORK = 20


def selects(selector: Selector, message: Message, cork: Cork, deliveries: int = 0) -> bool:
    """Return whether a selector matches a message, and count the work.

    Args:
        selector: The selector.
        message: The message.
        cork: The cork of the server. It remembers the headers until another message is looked at:
            thousands of selectors may look at the same one.
        deliveries: The number of earlier deliveries of the message that were returned.
    """
    cork.work += selector.work
    memo = cork.memo
    if memo is None or memo[0] is not message or memo[1] != deliveries:
        headers = selectable_headers(message)
        if deliveries:
            headers |= {"redelivered": "true", "x-delivery-count": str(deliveries)}
        cork.work += _HEADERS_WORK
        memo = cork.memo = message, deliveries, selector.HEADERS(headers)
    return selector.condition(memo[2]) is True


class Selectors:
    """The selectors in use, by text: equal ones are the same, and take memory once.

    Args:
        cork: The cork of the server, which counts the work of parsing.
    """

    __slots__ = ("_by_text", "_cork")

    def __init__(self, cork: Cork) -> None:
        self._cork = cork
        self._by_text: WeakValueDictionary[str, Selector] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._by_text)

    def get(self, text: str) -> Selector:
        """Return the selector of a text.

        Raises:
            ProtocolError: It is not valid, or over a limit of selectors.
        """
        selector = self._by_text.get(text)
        if selector is None:
            # Imported on first use, so that the start of the server does not pay for it.
            from rtchat.core.selector.selector import Selector

            self._cork.work += len(text)
            selector = self._by_text[text] = Selector.parse(text)
        return selector
