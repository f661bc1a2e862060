"""The selector parser: compiles tokens into a closure over the headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rtchat.core.selector.like import LikePattern
from rtchat.core.selector.numbers import (
    Operation,
    add,
    as_long,
    divide,
    multiply,
    negate,
    remainder,
    subtract,
)
from rtchat.core.selector.operators import (
    COMPARISONS,
    all_of,
    any_of,
    comparison,
    in_list,
    is_null,
    like,
    negate_number,
    negation,
)
from rtchat.core.selector.tokens import Position, Token, Tokens
from rtchat.core.selector.values import (
    Chain,
    Condition,
    Number,
    ReadCondition,
    Text,
    Value,
    condition_of,
    constant,
    header_text,
    number_of,
    text_before,
    value_of_name,
)
from rtchat.errors import LimitExceeded

__all__ = ["SelectorParser"]

_OPEN, _OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(8)

_ARITHMETIC: Mapping[str, tuple[int, Operation]] = {
    "+": (_SUM, add),
    "-": (_SUM, subtract),
    "*": (_PRODUCT, multiply),
    "/": (_PRODUCT, divide),
    "%": (_PRODUCT, remainder),
}


_NODE_BYTES = 640
"""The memory that a value or an operator takes at most, without the text that it may have."""
_CHARACTER_BYTES = 4


@dataclass(slots=True)
class _Operator:
    """An operator or open parenthesis on the stack, whose last operand is not complete yet.

    Attributes:
        precedence: How tightly it binds.
        position: Where it starts.
        apply: Pops its operands from the value stack and pushes the result.
        is_nested: Whether it counts towards the nesting depth.
        lacks_and: Whether it is a BETWEEN whose AND has not been read yet.
    """

    precedence: int
    position: Position
    apply: Callable[[], None]
    is_nested: bool = False
    lacks_and: bool = False


class SelectorParser:
    """Parses a selector with two stacks (Dijkstra's shunting yard), hence without recursion.

    Attributes:
        size: How much memory the result takes at most, in bytes.
        steps: What the result costs at most for a message, in the steps of :class:`Selector`.
    """

    def __init__(self, text: str, max_depth: int, max_nodes: int) -> None:
        """Start at the first token.

        Args:
            text: The selector.
            max_depth: The most parentheses, NOTs and signs that may be open at once.
            max_nodes: The most values and operators it may have.
        """
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self.size = 0
        self.steps = 0
        self._depth = 0
        self._nodes = 0
        self._values: list[Value] = []
        self._operators: list[_Operator] = []
        self._tokens = Tokens(text)
        self._token = self._tokens.next()

    def parse(self) -> ReadCondition:
        """Parse the whole selector; call this once.

        Returns:
            The condition: True, False or None (unknown) for the headers of a message.

        Raises:
            ProtocolError: The selector is not valid.
            LimitExceeded: It is nested too deeply, or has too many values and operators.
        """
        # "If the value of a message selector is an empty string, the value is treated as a
        # null and indicates that there is no message selector for the message consumer."
        if self._token.kind == "end":
            return lambda headers: True
        self._read_value()
        while self._read_operators():
            self._read_value()
        self._reduce(_OR)
        if self._operators:
            raise self._operators[-1].position.error("this parenthesis is never closed")
        return condition_of(self._values.pop()).read

    # -------------------------------------------------- tokens and limits

    def _take(self) -> Token:
        """Return the current token and advance to the next."""
        token = self._token
        self._token = self._tokens.next()
        return token

    def _take_if(self, *values: str) -> Token | None:
        """Take the current token if it is one of these keywords and signs, else return None."""
        return self._take() if self._token.is_(*values) else None

    def _take_text(self) -> str:
        if self._token.kind != "text":
            raise self._token.unexpected("text in single quotes")
        self._count(self._token)
        return self._take().value

    def _count(self, token: Token) -> None:
        self._nodes += 1
        self.steps += 1
        self.size += _NODE_BYTES + _CHARACTER_BYTES * len(token.value)
        if self._nodes > self._max_nodes:
            raise token.position.error(
                f"a selector may have {self._max_nodes} values and operators at most",
                LimitExceeded,
            )

    # -------------------------------------------------- operator stack

    def _push(self, precedence: int, token: Token, apply: Callable[[], None]) -> None:
        self._count(token)
        self._operators.append(_Operator(precedence, token.position, apply))

    def _push_nested(self, precedence: int, token: Token, apply: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > self._max_depth:
            raise token.position.error(
                f"parentheses, NOTs and signs may be {self._max_depth} deep at most",
                LimitExceeded,
            )
        self._operators.append(_Operator(precedence, token.position, apply, is_nested=True))

    def _reduce(self, precedence: int, token: Token | None = None) -> None:
        """Apply the operators on top of the stack that bind at least this tightly.

        Args:
            precedence: The lowest precedence to apply.
            token: The token after their operands, if it was already taken; used in errors.
        """
        while self._operators and self._operators[-1].precedence >= precedence:
            top = self._operators.pop()
            if top.lacks_and:
                raise (token or self._token).unexpected("the AND of BETWEEN")
            self._depth -= top.is_nested
            top.apply()

    def _begin_comparison(self, token: Token) -> None:
        """Complete the left operand of a comparison, which may not follow another comparison."""
        self._reduce(_SUM)
        if self._operators and self._operators[-1].precedence == _COMPARISON:
            if self._operators[-1].lacks_and:
                raise token.unexpected("the AND of BETWEEN")
            raise token.position.error("comparisons do not chain; put one in parentheses")

    # -------------------------------------------------- where a value is expected

    def _read_value(self) -> None:
        """Read a value with the parentheses, NOTs and signs before it."""
        while True:
            if token := self._take_if("("):
                self._push_nested(_OPEN, token, lambda: None)
            elif token := self._take_if("NOT"):
                if self._operators and self._operators[-1].precedence > _NOT:
                    raise token.position.error("NOT and its condition need parentheses here")
                self._count(token)
                self._push_nested(_NOT, token, partial(self._apply_not, token.position))
            elif token := self._take_if("+", "-"):
                self._count(token)
                self._push_nested(_SIGN, token, partial(self._apply_sign, token))
            else:
                break
        self._values.append(self._value_of(self._token))
        self._count(self._token)
        self._take()

    def _value_of(self, token: Token) -> Value:
        kind, image, position = token.kind, token.value, token.position
        if kind == "name":
            return value_of_name(image, position)
        if kind == "quoted":
            return Text(position, header_text(image), header=image)
        if kind == "text":
            return Text(position, lambda headers: image, literal=image)
        if kind == "float":
            return constant(position, float(image))
        if kind == "hex":
            return constant(position, as_long(int(image, 16)))
        if kind == "int":
            return constant(position, token.integer())
        if token.is_("TRUE", "FALSE"):
            truth = image == "TRUE"
            return Condition(position, lambda headers: truth)
        if token.is_("NULL"):
            raise position.error("NULL stands behind IS and IS NOT only")
        raise token.unexpected("a value")

    # -------------------------------------------------- where an operator is expected

    def _read_operators(self) -> bool:
        """Read operators up to one that needs another value; return False at the end."""
        while self._token.kind != "end":
            if token := self._take_if(")"):
                self._close(token)
            elif token := self._take_if("IS"):
                self._read_is_null(token)
            elif token := self._take_if("NOT", "IN", "LIKE", "BETWEEN"):
                negated = token.value == "NOT"
                if negated:
                    token = self._take_if("IN", "LIKE", "BETWEEN")
                    if token is None:
                        raise self._token.unexpected("IN, LIKE or BETWEEN")
                self._begin_comparison(token)
                if token.value == "IN":
                    self._read_in(token, negated)
                elif token.value == "LIKE":
                    self._read_like(token, negated)
                else:
                    self._push(_COMPARISON, token, partial(self._apply_between, negated))
                    self._operators[-1].lacks_and = True
                    return True
            else:
                self._read_binary()
                return True
        return False

    def _close(self, token: Token) -> None:
        self._reduce(_OR, token)
        if not self._operators:
            raise token.position.error("this parenthesis closes none")
        self._depth -= 1
        self._values[-1].position = self._operators.pop().position

    def _read_is_null(self, token: Token) -> None:
        self._begin_comparison(token)
        negated = self._take_if("NOT") is not None
        if self._take_if("NULL") is None:
            raise self._token.unexpected("NULL" if negated else "NULL or NOT NULL")
        self._push(_COMPARISON, token, partial(self._apply_is_null, negated))

    def _read_in(self, token: Token, negated: bool) -> None:
        if self._take_if("(") is None:
            raise self._token.unexpected("a list in parentheses")
        texts = {self._take_text()}
        while self._take_if(","):
            texts.add(self._take_text())
        if self._take_if(")") is None:
            raise self._token.unexpected("a comma or the end of the list")
        self._push(_COMPARISON, token, partial(self._apply_in, frozenset(texts), negated))

    def _read_like(self, token: Token, negated: bool) -> None:
        pattern, escape = self._take_text(), ""
        if self._take_if("ESCAPE"):
            position = self._token.position
            escape = self._take_text()
            if len(escape) != 1:
                raise position.error("ESCAPE takes one character")
        like_pattern = LikePattern(pattern, escape)
        self.steps += like_pattern.steps
        self.size += _CHARACTER_BYTES * len(pattern)
        apply = partial(self._apply_like, like_pattern, negated)
        self._push(_COMPARISON, token, apply)

    def _read_binary(self) -> None:
        symbol = self._token.value
        if self._token.is_("OR"):
            self._reduce(_OR)
            self._push(_OR, self._token, partial(self._apply_logic, "OR", any_of))
        elif self._token.is_("AND"):
            self._reduce(_SUM)
            if self._operators and self._operators[-1].lacks_and:
                self._operators[-1].lacks_and = False
            else:
                self._reduce(_AND)
                self._push(_AND, self._token, partial(self._apply_logic, "AND", all_of))
        elif self._token.is_(*COMPARISONS):
            self._begin_comparison(self._token)
            self._push(_COMPARISON, self._token, partial(self._apply_comparison, symbol))
        elif self._token.is_(*_ARITHMETIC):
            precedence, operation = _ARITHMETIC[symbol]
            self._reduce(precedence)
            self._push(precedence, self._token, partial(self._apply_arithmetic, operation))
        else:
            raise self._token.unexpected("AND, OR or an operator")
        self._take()

    # -------------------------------------------------- applying operators to values

    def _apply_logic(
        self, keyword: str, join: Callable[[list[ReadCondition]], ReadCondition]
    ) -> None:
        right, left = condition_of(self._values.pop()), condition_of(self._values.pop())
        # a AND (b AND c) AND d becomes one flat list, not a tree.
        parts = left.parts if left.keyword == keyword else [left.read]
        parts += right.parts if right.keyword == keyword else [right.read]
        self._values.append(Condition(left.position, join(parts), keyword=keyword, parts=parts))

    def _apply_not(self, position: Position) -> None:
        self._values.append(Condition(position, negation(condition_of(self._values.pop()).read)))

    def _apply_sign(self, token: Token) -> None:
        number = number_of(self._values.pop())
        if token.value == "-":
            number = Number(
                token.position,
                negate_number(number.read),
                literal=None if number.literal is None else negate(number.literal),
            )
        self._values.append(Number(token.position, number.read, literal=number.literal))

    def _apply_arithmetic(self, operation: Operation) -> None:
        right, left = number_of(self._values.pop()), number_of(self._values.pop())
        if left.literal is not None and right.literal is not None:
            result = operation(left.literal, right.literal)
            if result is not None:
                self._values.append(constant(left.position, result))
                return
        chain = left.chain or Chain(left.read)
        chain.append(operation, right.read)
        self._values.append(Number(left.position, chain.read, chain=chain))

    def _apply_is_null(self, negated: bool) -> None:
        value = self._values.pop()
        self._values.append(Condition(value.position, is_null(value.read, negated=negated)))

    def _apply_in(self, texts: frozenset[str], negated: bool) -> None:
        value = self._values.pop()
        if isinstance(value, Text) and value.literal is not None:
            raise value.position.error("a header's name was expected before IN, not text")
        read = text_before(value, "IN")
        self._values.append(Condition(value.position, in_list(read, texts, negated=negated)))

    def _apply_like(self, pattern: LikePattern, negated: bool) -> None:
        value = self._values.pop()
        read = text_before(value, "LIKE")
        self._values.append(Condition(value.position, like(read, pattern, negated=negated)))

    def _apply_between(self, negated: bool) -> None:
        high, low, value = self._values.pop(), self._values.pop(), self._values.pop()
        below, above = ("<", ">") if negated else (">=", "<=")
        parts = [comparison(below, value, low), comparison(above, value, high)]
        join, keyword = (any_of, "OR") if negated else (all_of, "AND")
        self._values.append(Condition(value.position, join(parts), keyword=keyword, parts=parts))

    def _apply_comparison(self, symbol: str) -> None:
        right, left = self._values.pop(), self._values.pop()
        self._values.append(Condition(left.position, comparison(symbol, left, right)))
