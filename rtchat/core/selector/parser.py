"""Reading a selector: from its words to the closure that is its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rtchat.core.selector.like import LikePattern
from rtchat.core.selector.numbers import (
    Operation,
    as_long,
    divided_by,
    minus,
    negative,
    plus,
    remainder,
    times,
)
from rtchat.core.selector.operators import (
    COMPARISONS,
    all_of,
    any_of,
    comparison,
    found_in,
    is_null,
    like,
    negated_number,
    negation,
)
from rtchat.core.selector.tokens import Position, Token, Tokens
from rtchat.core.selector.values import (
    Chain,
    Number,
    ReadTruth,
    Text,
    Truth,
    Value,
    condition_of,
    constant,
    header_text,
    named,
    number_of,
    text_before,
)
from rtchat.errors import LimitExceeded

__all__ = ["SelectorParser"]

_OPEN, _OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(8)

_ARITHMETIC: Mapping[str, tuple[int, Operation]] = {
    "+": (_SUM, plus),
    "-": (_SUM, minus),
    "*": (_PRODUCT, times),
    "/": (_PRODUCT, divided_by),
    "%": (_PRODUCT, remainder),
}


@dataclass(slots=True)
class _Operator:
    """An operator, or an open parenthesis, that waits for the end of its last value.

    Attributes:
        precedence: How tightly it binds.
        place: Where it starts.
        apply: Takes its values off the stack and puts its result there.
        is_nested: Whether it counts for the depth.
        lacks_and: Whether it is a BETWEEN before its AND.
    """

    precedence: int
    place: Position
    apply: Callable[[], None]
    is_nested: bool = False
    lacks_and: bool = False


class SelectorParser:
    """Reads a selector with two stacks (Dijkstra's shunting yard), hence without recursion."""

    def __init__(self, text: str, max_depth: int, max_nodes: int) -> None:
        """Take a selector.

        Args:
            text: The selector.
            max_depth: How many parentheses, NOTs and signs may be open at once.
            max_nodes: How many values and operators it may have.
        """
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self._depth = 0
        self._nodes = 0
        self._values: list[Value] = []
        self._operators: list[_Operator] = []
        self._words = Tokens(text)
        self._word = self._words.next()

    def parse(self) -> ReadTruth:
        """Read all of it, once.

        Raises:
            ProtocolError: It cannot be understood.
            LimitExceeded: It is too deep, or has too many parts.
        """
        # "If the value of a message selector is an empty string, the value is treated as a
        # null and indicates that there is no message selector for the message consumer."
        if self._word.kind == "end":
            return lambda headers: True
        self._read_value()
        while self._read_operators():
            self._read_value()
        self._reduce(_OR)
        if self._operators:
            raise self._operators[-1].place.fault("this parenthesis is never closed")
        return condition_of(self._values.pop()).read

    # -------------------------------------------------- words and limits

    def _take(self) -> Token:
        """Give the word that is looked at, and look at the next."""
        word = self._word
        self._word = self._words.next()
        return word

    def _take_if(self, *values: str) -> Token | None:
        """Take the word if it is one of these keywords and signs."""
        return self._take() if self._word.is_(*values) else None

    def _take_text(self) -> str:
        if self._word.kind != "text":
            raise self._word.unexpected("text in single quotes")
        self._count(self._word)
        return self._take().value

    def _count(self, word: Token) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise word.place.fault(
                f"a selector may have {self._max_nodes} values and operators at most",
                LimitExceeded,
            )

    # -------------------------------------------------- the stack of operators

    def _push(self, precedence: int, word: Token, apply: Callable[[], None]) -> None:
        self._count(word)
        self._operators.append(_Operator(precedence, word.place, apply))

    def _push_nested(self, precedence: int, word: Token, apply: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > self._max_depth:
            raise word.place.fault(
                f"parentheses, NOTs and signs may be {self._max_depth} deep at most",
                LimitExceeded,
            )
        self._operators.append(_Operator(precedence, word.place, apply, is_nested=True))

    def _reduce(self, precedence: int, word: Token | None = None) -> None:
        """Apply the operators on top that bind at least as tightly as this.

        Args:
            precedence: How tightly.
            word: What comes behind their values, when it is taken already.
        """
        while self._operators and self._operators[-1].precedence >= precedence:
            top = self._operators.pop()
            if top.lacks_and:
                raise (word or self._word).unexpected("the AND of BETWEEN")
            self._depth -= top.is_nested
            top.apply()

    def _begin_comparison(self, word: Token) -> None:
        """Finish the left side of a comparison; there must be none before it."""
        self._reduce(_SUM)
        if self._operators and self._operators[-1].precedence == _COMPARISON:
            if self._operators[-1].lacks_and:
                raise word.unexpected("the AND of BETWEEN")
            raise word.place.fault("comparisons do not chain; put one in parentheses")

    # -------------------------------------------------- where a value may stand

    def _read_value(self) -> None:
        """Take a value and all that stands before it: parentheses, NOT, signs."""
        while True:
            if word := self._take_if("("):
                self._push_nested(_OPEN, word, lambda: None)
            elif word := self._take_if("NOT"):
                if self._operators and self._operators[-1].precedence > _NOT:
                    raise word.place.fault("NOT and its condition need parentheses here")
                self._count(word)
                self._push_nested(_NOT, word, partial(self._apply_not, word.place))
            elif word := self._take_if("+", "-"):
                self._count(word)
                self._push_nested(_SIGN, word, partial(self._apply_sign, word))
            else:
                break
        self._values.append(self._value_of(self._word))
        self._count(self._word)
        self._take()

    def _value_of(self, word: Token) -> Value:
        kind, image, place = word.kind, word.value, word.place
        if kind == "name":
            return named(image, place)
        if kind == "quoted":
            return Text(place, header_text(image), header=image)
        if kind == "text":
            return Text(place, lambda headers: image, literal=image)
        if kind == "float":
            return constant(place, float(image))
        if kind == "hex":
            return constant(place, as_long(int(image, 16)))
        if kind == "int":
            return constant(place, word.integer())
        if word.is_("TRUE", "FALSE"):
            truth = image == "TRUE"
            return Truth(place, lambda headers: truth)
        if word.is_("NULL"):
            raise place.fault("NULL stands behind IS and IS NOT only")
        raise word.unexpected("a value")

    # -------------------------------------------------- where an operator may stand

    def _read_operators(self) -> bool:
        """Take operators up to one that asks for another value; False at the end."""
        while self._word.kind != "end":
            if word := self._take_if(")"):
                self._close(word)
            elif word := self._take_if("IS"):
                self._read_is_null(word)
            elif word := self._take_if("NOT", "IN", "LIKE", "BETWEEN"):
                negated = word.value == "NOT"
                if negated:
                    word = self._take_if("IN", "LIKE", "BETWEEN")
                    if word is None:
                        raise self._word.unexpected("IN, LIKE or BETWEEN")
                self._begin_comparison(word)
                if word.value == "IN":
                    self._read_in(word, negated)
                elif word.value == "LIKE":
                    self._read_like(word, negated)
                else:
                    self._push(_COMPARISON, word, partial(self._apply_between, negated))
                    self._operators[-1].lacks_and = True
                    return True
            else:
                self._read_binary()
                return True
        return False

    def _close(self, word: Token) -> None:
        self._reduce(_OR, word)
        if not self._operators:
            raise word.place.fault("this parenthesis closes none")
        self._depth -= 1
        self._values[-1].place = self._operators.pop().place

    def _read_is_null(self, word: Token) -> None:
        self._begin_comparison(word)
        negated = self._take_if("NOT") is not None
        if self._take_if("NULL") is None:
            raise self._word.unexpected("NULL" if negated else "NULL or NOT NULL")
        self._push(_COMPARISON, word, partial(self._apply_is_null, negated))

    def _read_in(self, word: Token, negated: bool) -> None:
        if self._take_if("(") is None:
            raise self._word.unexpected("a list in parentheses")
        texts = {self._take_text()}
        while self._take_if(","):
            texts.add(self._take_text())
        if self._take_if(")") is None:
            raise self._word.unexpected("a comma or the end of the list")
        self._push(_COMPARISON, word, partial(self._apply_in, frozenset(texts), negated))

    def _read_like(self, word: Token, negated: bool) -> None:
        pattern, escape = self._take_text(), ""
        if self._take_if("ESCAPE"):
            place = self._word.place
            escape = self._take_text()
            if len(escape) != 1:
                raise place.fault("ESCAPE takes one character")
        apply = partial(self._apply_like, LikePattern(pattern, escape), negated)
        self._push(_COMPARISON, word, apply)

    def _read_binary(self) -> None:
        symbol = self._word.value
        if self._word.is_("OR"):
            self._reduce(_OR)
            self._push(_OR, self._word, partial(self._apply_logic, "OR", any_of))
        elif self._word.is_("AND"):
            self._reduce(_SUM)
            if self._operators and self._operators[-1].lacks_and:
                self._operators[-1].lacks_and = False
            else:
                self._reduce(_AND)
                self._push(_AND, self._word, partial(self._apply_logic, "AND", all_of))
        elif self._word.is_(*COMPARISONS):
            self._begin_comparison(self._word)
            self._push(_COMPARISON, self._word, partial(self._apply_comparison, symbol))
        elif self._word.is_(*_ARITHMETIC):
            precedence, operation = _ARITHMETIC[symbol]
            self._reduce(precedence)
            self._push(precedence, self._word, partial(self._apply_arithmetic, operation))
        else:
            raise self._word.unexpected("AND, OR or an operator")
        self._take()

    # -------------------------------------------------- what operators make of their values

    def _apply_logic(self, keyword: str, join: Callable[[list[ReadTruth]], ReadTruth]) -> None:
        right, left = condition_of(self._values.pop()), condition_of(self._values.pop())
        # a AND (b AND c) AND d is one list, not a tree.
        parts = left.parts if left.keyword == keyword else [left.read]
        parts += right.parts if right.keyword == keyword else [right.read]
        self._values.append(Truth(left.place, join(parts), keyword=keyword, parts=parts))

    def _apply_not(self, place: Position) -> None:
        self._values.append(Truth(place, negation(condition_of(self._values.pop()).read)))

    def _apply_sign(self, word: Token) -> None:
        number = number_of(self._values.pop())
        if word.value == "-":
            number = Number(
                word.place,
                negated_number(number.read),
                literal=None if number.literal is None else negative(number.literal),
            )
        self._values.append(Number(word.place, number.read, literal=number.literal))

    def _apply_arithmetic(self, operation: Operation) -> None:
        right, left = number_of(self._values.pop()), number_of(self._values.pop())
        if left.literal is not None and right.literal is not None:
            result = operation(left.literal, right.literal)
            if result is not None:
                self._values.append(constant(left.place, result))
                return
        chain = left.chain or Chain(left.read)
        chain.append(operation, right.read)
        self._values.append(Number(left.place, chain.read, chain=chain))

    def _apply_is_null(self, negated: bool) -> None:
        value = self._values.pop()
        self._values.append(Truth(value.place, is_null(value.read, negated=negated)))

    def _apply_in(self, texts: frozenset[str], negated: bool) -> None:
        value = self._values.pop()
        if isinstance(value, Text) and value.literal is not None:
            raise value.place.fault("a header's name was expected before IN, not text")
        read = text_before(value, "IN")
        self._values.append(Truth(value.place, found_in(read, texts, negated=negated)))

    def _apply_like(self, pattern: LikePattern, negated: bool) -> None:
        value = self._values.pop()
        read = text_before(value, "LIKE")
        self._values.append(Truth(value.place, like(read, pattern, negated=negated)))

    def _apply_between(self, negated: bool) -> None:
        high, low, value = self._values.pop(), self._values.pop(), self._values.pop()
        below, above = ("<", ">") if negated else (">=", "<=")
        parts = [comparison(below, value, low), comparison(above, value, high)]
        join, keyword = (any_of, "OR") if negated else (all_of, "AND")
        self._values.append(Truth(value.place, join(parts), keyword=keyword, parts=parts))

    def _apply_comparison(self, symbol: str) -> None:
        right, left = self._values.pop(), self._values.pop()
        self._values.append(Truth(left.place, comparison(symbol, left, right)))
