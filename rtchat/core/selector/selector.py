"""What a subscriber wants to see: SQL-92 message selectors, as JMS 1.1 and ActiveMQ define them.

A selector is read once, when a client subscribes, and becomes a tree of closures. It decides
over a message's headers only, and selects it when the condition is TRUE: neither FALSE nor
unknown will do::

    color IN ('red', 'blue') AND weight - 5 > 2500 AND (note IS NULL OR note LIKE 'a%')

    loosest   OR
              AND
              NOT
              = <> != < <= > >=   BETWEEN   IN   LIKE   IS NULL    (they do not chain)
              + -
              * / %
    tightest  + - before a value

**Words.** Keywords in any case, header names exactly as sent. A name is a Java identifier and
may have ``-``, ``.`` and ``:`` between its letters and digits, as STOMP's own headers do:
``x-key`` is one name, ``x - key`` a subtraction. Any other name goes into double quotes.
Numbers are written as in Java (``7``, ``7L``, ``0x1F``, ``017`` is octal, ``7.``, ``.5``,
``6.2E-3``), text in single quotes, a single quote in it twice. ``--`` to the end of the line
and ``/* */`` are comments. An empty selector selects everything.

**Types.** STOMP's headers are all text, so a header is what it is compared with. Beside a
number or in arithmetic it is read as a decimal number; beside TRUE, FALSE or a condition, or
alone as a condition, ``true`` and ``false`` (in any case) count; two headers are compared as
text, character by character. What cannot be read so is unknown, like a header that is missing.

**Arithmetic.** Integers are Java's longs, and go on as doubles where they would overflow.
Division and remainder give doubles; division by zero and what is not a number are unknown.

Where the two sources differ, and where we differ from both:

=============================  ==============================================================
``7 / 2``                      3.5 as in ActiveMQ; Java's promotion, which JMS asks for, says 3
``<`` and BETWEEN on text      header with header as text; a literal in quotes is an error, as
                               in ActiveMQ. JMS has ``=`` and ``<>`` for text only
``NOT a = 'b'``                ``NOT (a = 'b')`` as in SQL and JMS; ActiveMQ reads
                               ``(NOT a) = 'b'``
``age > 18``, header text      converted, always. ActiveMQ does it behind the prefix
                               ``convert_string_expressions:``, which is accepted and idle, like
                               Artemis's ``hyphenated_props:``
``a-b``                        one name, as in Artemis behind that prefix
``'x' <> 5``, a header         unknown; ActiveMQ says TRUE
``!=``, ``"quoted names"``     ours
overflow                       continues as a double; ActiveMQ wraps around
=============================  ==============================================================

JMS's own names stand for STOMP's headers (in double quotes they are names like any other):
JMSMessageID is ``message-id``, JMSDestination ``destination``, JMSReplyTo ``reply-to``,
JMSCorrelationID ``correlation-id``, JMSType ``type``; JMSPriority, a number, is ``priority``
or 4, JMSTimestamp ``timestamp``, JMSExpiration ``expires`` or 0; JMSRedelivered, a condition,
is ``redelivered`` or FALSE; JMSDeliveryMode is ``'PERSISTENT'`` when ``persistent`` is true,
else ``'NON_PERSISTENT'``. JMSXGroupID and the rest are headers of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.selector.parser import SelectorParser
from rtchat.core.selector.tokens import Position
from rtchat.errors import LimitExceeded

__all__ = ["Selector"]


class Selector:
    """A condition over a message's headers, ready to be asked many times.

    Attributes:
        text: The selector as the client wrote it.
    """

    # A STOMP header line has 8 KiB at most, so that no client meets this one unless the
    # server's owner raised max_header_bytes.
    MAX_CHARACTERS = 8 * 1024
    # Parentheses, NOTs and signs open at once. Each takes three Python calls at most when a
    # message is looked at, and Python allows about 1000 in all. People stay below ten.
    MAX_DEPTH = 64
    # Values and operators. Each costs a few tenths of a microsecond a message, and all
    # subscribers wait meanwhile.
    MAX_NODES = 1024

    __slots__ = ("_test", "text")

    def __init__(self, text: str, test: Callable[[Mapping[str, str]], bool | None]) -> None:
        """Use :meth:`parse`; this takes the text and its meaning as they are."""
        self.text = text
        self._test = test

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector.

        Raises:
            ProtocolError: For a selector that cannot be understood. Its detail shows the
                selector with a caret under the place, and what is wrong there.
            LimitExceeded: For one that is too long, too deep or has too many parts, likewise.
        """
        if len(text) > cls.MAX_CHARACTERS:
            raise Position(text, cls.MAX_CHARACTERS).fault(
                f"a selector may have {cls.MAX_CHARACTERS} characters at most",
                LimitExceeded,
            )
        return cls(text, SelectorParser(text, cls.MAX_DEPTH, cls.MAX_NODES).parse())

    def matches(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a message with these headers is selected.

        Args:
            headers: The headers that a subscriber would see, those of the server included.
        """
        return self._test(headers) is True

    def __repr__(self) -> str:
        return f"<Selector {self.text!r}>"
