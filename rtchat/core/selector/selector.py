"""SQL-92 message selectors, as JMS 1.1 and ActiveMQ define them.

A selector is parsed once, at SUBSCRIBE, and compiled into a tree of closures. It sees only a
message's headers, and selects the message if the condition is TRUE, not FALSE or unknown::

    color IN ('red', 'blue') AND weight - 5 > 2500 AND (note IS NULL OR note LIKE 'a%')

    loosest   OR
              AND
              NOT
              = <> != < <= > >=   BETWEEN   IN   LIKE   IS NULL    (they do not chain)
              + -
              * / %
    tightest  + - before a value

**Tokens.** Keywords are case-insensitive; header names are matched exactly as sent. A name is a
Java identifier that may have ``-``, ``.`` and ``:`` between its letters and digits, as STOMP's
own headers do: ``x-key`` is one name, ``x - key`` a subtraction. Any other name needs double
quotes. Numbers are written as in Java (``7``, ``7L``, ``0x1F``, ``017`` is octal, ``7.``,
``.5``, ``6.2E-3``). Text is in single quotes; a single quote inside it is doubled. ``--`` to the
end of the line and ``/* */`` are comments. An empty selector selects every message.

**Types.** All STOMP headers are text, so a header takes the type it is compared with. Next to a
number or in arithmetic, it is read as a decimal number. Next to TRUE, FALSE or a condition, or
alone as a condition, ``true`` and ``false`` (in any case) are read as Booleans. Two headers are
compared as text, character by character. A header that cannot be converted is unknown, like a
missing one.

**Arithmetic.** Integers are Java longs and become doubles on overflow. Division and remainder
return doubles. Division by zero and results that are not a number are unknown. So is a header of
more than 40 characters where a number is needed, and one of more than 8192 before LIKE: no selector
may take long, whatever a message has.

Where JMS and ActiveMQ differ, and where this implementation differs from both:

=============================  ==============================================================
``7 / 2``                      3.5 as in ActiveMQ; Java's promotion, which JMS requires, gives 3
``<`` and BETWEEN on text      two headers compare as text; a quoted literal is an error, as
                               in ActiveMQ. JMS allows only ``=`` and ``<>`` on text
``NOT a = 'b'``                ``NOT (a = 'b')`` as in SQL and JMS; ActiveMQ reads
                               ``(NOT a) = 'b'``
``age > 18``, header text      always converted. ActiveMQ converts after the prefix
                               ``convert_string_expressions:``, which is accepted and ignored,
                               like Artemis's ``hyphenated_props:``
``a-b``                        one name, as in Artemis after that prefix
``'x' <> 5``, a header         unknown; ActiveMQ returns TRUE
``!=``, ``"quoted names"``     extensions of this implementation
overflow                       becomes a double; ActiveMQ wraps around
=============================  ==============================================================

JMS names are aliases of STOMP headers (in double quotes they are ordinary names):
JMSMessageID is ``message-id``, JMSDestination ``destination``, JMSReplyTo ``reply-to``,
JMSCorrelationID ``correlation-id``, JMSType ``type``; JMSPriority, a number, is ``priority``
or 4, JMSTimestamp ``timestamp``, JMSExpiration ``expires`` or 0; JMSRedelivered, a condition,
is ``redelivered`` or FALSE; JMSDeliveryMode is ``'PERSISTENT'`` when ``persistent`` is true,
else ``'NON_PERSISTENT'``. JMSXGroupID and the rest are headers of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.selector.headers import MessageHeaders
from rtchat.core.selector.parser import SelectorParser
from rtchat.core.selector.tokens import Position
from rtchat.errors import LimitExceeded

__all__ = ["Selector"]


_OWN_BYTES = 1024
_STEPS_PER_WORK = 4


class Selector:
    """A compiled condition over a message's headers.

    Attributes:
        HEADERS: The type of headers that is looked at fastest.
        condition: Returns whether headers meet it: True, False, or None for unknown.
        size: How much memory it takes at most, in bytes.
        steps: What a message costs at most. A value or an operator is one step; LIKE has 20 more,
            and two for each character of its pattern; a character beside a ``_`` that stands
            between others and behind a ``%`` is 32. A step takes a quarter of a microsecond, or one
            and a half if message and pattern were made to be slow.
        text: The selector as the client wrote it.
        work: What a message usually costs, in the units of a turn's work.
    """

    # A STOMP header line has at most 8 KiB, so clients reach this limit only where
    # max_header_bytes was raised.
    MAX_CHARACTERS = 8 * 1024
    # Parentheses, NOTs and signs open at once. Each takes at most three nested Python calls
    # per evaluation, and Python allows about 1000. Selectors in practice stay below ten.
    MAX_DEPTH = 64
    # Values and operators. Each costs a few tenths of a microsecond per message, and delays
    # every subscriber.
    MAX_NODES = 1024

    HEADERS = MessageHeaders

    __slots__ = ("__weakref__", "condition", "size", "steps", "text", "work")

    def __init__(
        self, text: str, test: Callable[[Mapping[str, str]], bool | None], steps: int, size: int
    ) -> None:
        """Take a text and its compiled condition; use :meth:`parse` instead."""
        self.text = text
        self.steps = steps
        self.size = _OWN_BYTES + 4 * len(text) + size
        self.work = 1 + steps // _STEPS_PER_WORK
        self.condition = test

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Parse a selector.

        Raises:
            ProtocolError: The selector is not valid. The error's detail shows the selector with
                a caret under the position, and what is wrong there.
            LimitExceeded: It is too long, nested too deeply or has too many values and
                operators; the detail has the same form.
        """
        if len(text) > cls.MAX_CHARACTERS:
            raise Position(text, cls.MAX_CHARACTERS).error(
                f"a selector may have {cls.MAX_CHARACTERS} characters at most",
                LimitExceeded,
            )
        parser = SelectorParser(text, cls.MAX_DEPTH, cls.MAX_NODES)
        return cls(text, parser.parse(), parser.steps, parser.size)

    def matches(self, headers: Mapping[str, str]) -> bool:
        """Return whether a message with these headers is selected.

        Args:
            headers: The headers as the subscriber sees them, including those set by the server.
        """
        return self.condition(headers) is True

    def __repr__(self) -> str:
        return f"<Selector {self.text!r}>"
