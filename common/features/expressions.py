"""Typed expressions over an event: one meaning in Python, Spark SQL and Flink SQL.

The engines differ in ways that text hides (BIGINT / BIGINT truncates in Flink and not in Spark, INT overflow wraps
in one and raises in the other), so every rendering casts explicitly. Null follows SQL: it makes a comparison null,
and a condition that is null counts as false.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from common.contracts.core import BOOLEAN, DOUBLE, LONG, STRING, Kind, decimal
from common.contracts.events import EVENT_WEIGHTS, EVENTS, MONEY
from common.features.patterns import check_pattern

Literal = str | int | float | bool | Decimal

PREVIOUS_ITEM = "previous_item_id"
"""A field that an event gets from the events around it (common/features/previous.py)."""

_SQL_TYPES = {"string": "STRING", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN"}


def sql_type(kind: Kind) -> str:
    """The type's name, the same in Spark SQL and Flink SQL."""
    if kind.name == "decimal":
        return f"DECIMAL({kind.args[0]}, {kind.args[1]})"
    return _SQL_TYPES[kind.name]


def _quote(text: str) -> str:
    if "\\" in text or "\n" in text:
        # Spark reads a backslash in a literal as an escape and Flink does not.
        raise ValueError(f"a literal of {len(text)} characters holds a backslash or a line break; engines differ there")
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, eq=False)
class Expr:
    """A typed expression. ``evaluate`` takes an event as a mapping; ``sql`` renders it for both engines.

    Every operation used here means the same in Spark SQL and Flink SQL once its operands are cast, so one
    rendering serves both; ``spark`` and ``flink`` are the names to call, and the place to part where they must.
    """

    @property
    def kind(self) -> Kind:
        raise NotImplementedError

    def evaluate(self, row: Mapping[str, Any]) -> Any:
        """The value for one event; None is SQL's NULL."""
        raise NotImplementedError

    def sql(self) -> str:
        raise NotImplementedError

    def spark(self) -> str:
        """The expression in Spark SQL, over the columns of the events contract."""
        return self.sql()

    def flink(self) -> str:
        """The expression in Flink SQL, over the columns of the events contract."""
        return self.sql()

    def columns(self) -> frozenset[str]:
        """The event fields it reads."""
        return frozenset()

    # Comparisons build expressions, so identity is by object: see eq=False above.
    def __eq__(self, other: object) -> "Comparison":  # type: ignore[override]
        return Comparison("=", self, _expr(other))

    def __ne__(self, other: object) -> "Comparison":  # type: ignore[override]
        return Comparison("<>", self, _expr(other))

    def __lt__(self, other: object) -> "Comparison":
        return Comparison("<", self, _expr(other))

    def __le__(self, other: object) -> "Comparison":
        return Comparison("<=", self, _expr(other))

    def __gt__(self, other: object) -> "Comparison":
        return Comparison(">", self, _expr(other))

    def __ge__(self, other: object) -> "Comparison":
        return Comparison(">=", self, _expr(other))

    __hash__ = object.__hash__

    def __and__(self, other: "Expr") -> "Logic":
        return Logic("AND", self, other)

    def __or__(self, other: "Expr") -> "Logic":
        return Logic("OR", self, other)

    def __invert__(self) -> "Not":
        return Not(self)

    def __add__(self, other: object) -> "Arithmetic":
        return Arithmetic("+", self, _expr(other))

    def __sub__(self, other: object) -> "Arithmetic":
        return Arithmetic("-", self, _expr(other))

    def __mul__(self, other: object) -> "Arithmetic":
        return Arithmetic("*", self, _expr(other))

    def is_null(self) -> "IsNull":
        """True where the value is missing; never null itself."""
        return IsNull(self)

    def is_in(self, *values: Literal) -> "Expr":
        """True where the value equals one of the literals."""
        found: Expr = self == values[0]
        for value in values[1:]:
            found = found | (self == value)
        return found

    def is_among(self, values: Collection[str]) -> "Member":
        """As :meth:`is_in`, for a long list of texts of one length: one look-up and not a comparison each."""
        return Member(self, frozenset(values))

    def matches(self, pattern: str) -> "Matches":
        """True where the whole text matches the regular expression, of the syntax of common.features.patterns."""
        return Matches(self, pattern)

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value here; combine conditions with & | ~, not with and/or/not")


def _expr(value: object) -> Expr:
    if isinstance(value, Expr):
        return value
    if isinstance(value, str | bool | int | float | Decimal):
        return Constant(value)
    raise TypeError(f"{type(value).__name__} is not an expression or a literal")


@dataclass(frozen=True, eq=False)
class Column(Expr):
    """A field of the event. An int is widened to a long, so that no engine's 32-bit rules apply."""

    name: str
    of: Kind

    @property
    def kind(self) -> Kind:
        return LONG if self.of.name in ("int", "epoch_ms") else self.of

    def evaluate(self, row: Mapping[str, Any]) -> Any:
        return row.get(self.name)

    def sql(self) -> str:
        name = f"`{self.name}`"
        return f"CAST({name} AS BIGINT)" if self.of.name == "int" else name

    def columns(self) -> frozenset[str]:
        return frozenset({self.name})


@dataclass(frozen=True, eq=False)
class Constant(Expr):
    """A literal. Raises ValueError for a number that no engine's type holds exactly."""

    value: Literal

    def __post_init__(self) -> None:
        value = self.value
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            raise ValueError(f"{value} is no literal that all engines know; give a finite number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"an int of {value.bit_length()} bits does not fit into a BIGINT; give one of at most 64")
        if isinstance(value, Decimal) and int(value.as_tuple().exponent) > 0:
            object.__setattr__(self, "value", Decimal(int(value)))  # 1E+2 has no digits to count; 100 has three

    @property
    def kind(self) -> Kind:
        if isinstance(self.value, bool):
            return BOOLEAN
        if isinstance(self.value, int):
            return LONG
        if isinstance(self.value, float):
            return DOUBLE
        if isinstance(self.value, Decimal):
            digits = self.value.as_tuple()
            scale = max(0, -int(digits.exponent))
            return decimal(max(len(digits.digits), scale + 1), scale)
        return STRING

    def evaluate(self, row: Mapping[str, Any]) -> Any:
        return self.value

    def sql(self) -> str:
        if isinstance(self.value, bool):
            return "TRUE" if self.value else "FALSE"
        if isinstance(self.value, str):
            return _quote(self.value)
        return f"CAST({self.value} AS {sql_type(self.kind)})"


@dataclass(frozen=True, eq=False)
class Mapped(Expr):
    """A declared number for each value of a string expression; ``default`` for any other, null included."""

    of: Expr
    values: tuple[tuple[str, int], ...]
    default: int

    @property
    def kind(self) -> Kind:
        return LONG

    def evaluate(self, row: Mapping[str, Any]) -> int:
        return dict(self.values).get(self.of.evaluate(row), self.default)

    def sql(self) -> str:
        cases = " ".join(f"WHEN {_quote(k)} THEN CAST({v} AS BIGINT)" for k, v in self.values if v != self.default)
        if not cases:
            return f"CAST({self.default} AS BIGINT)"
        return f"CASE {self.of.sql()} {cases} ELSE CAST({self.default} AS BIGINT) END"

    def columns(self) -> frozenset[str]:
        return self.of.columns()


@dataclass(frozen=True, eq=False)
class Comparison(Expr):
    """``left op right``; null where either side is."""

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        numeric = ("long", "double", "decimal")
        left, right = self.left.kind.name, self.right.kind.name
        if left != right and not (left in numeric and right in numeric):
            raise TypeError(f"{left} cannot be compared with {right}")
        if left == "string" and self.op not in ("=", "<>"):
            # Flink orders texts by UTF-16 unit, Spark and Python by code point.
            raise TypeError(f"texts have no order that all engines share, so {self.op} does not take them")

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool | None:
        left, right = self.left.evaluate(row), self.right.evaluate(row)
        if left is None or right is None:
            return None
        if "double" in (self.left.kind.name, self.right.kind.name):
            left, right = float(left), float(right)
        match self.op:
            case "=":
                return left == right
            case "<>":
                return left != right
            case "<":
                return left < right
            case "<=":
                return left <= right
            case ">":
                return left > right
            case ">=":
                return left >= right
        raise ValueError(f"comparison {self.op} is not known")

    def sql(self) -> str:
        left, right = self.left.sql(), self.right.sql()
        if "double" in (self.left.kind.name, self.right.kind.name):
            left, right = f"CAST({left} AS DOUBLE)", f"CAST({right} AS DOUBLE)"
        return f"({left} {self.op} {right})"

    def columns(self) -> frozenset[str]:
        return self.left.columns() | self.right.columns()


@dataclass(frozen=True, eq=False)
class Logic(Expr):
    """AND or OR, in SQL's three values."""

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if side.kind != BOOLEAN:
                raise TypeError(f"{self.op} takes conditions, not a {side.kind}")

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool | None:
        left, right = self.left.evaluate(row), self.right.evaluate(row)
        decides = self.op == "OR"  # the value that settles the result whatever the other side is
        if left is decides or right is decides:
            return decides
        return None if left is None or right is None else not decides

    def sql(self) -> str:
        return f"({self.left.sql()} {self.op} {self.right.sql()})"

    def columns(self) -> frozenset[str]:
        return self.left.columns() | self.right.columns()


@dataclass(frozen=True, eq=False)
class Not(Expr):
    """Negation; null stays null."""

    of: Expr

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool | None:
        value = self.of.evaluate(row)
        return None if value is None else not value

    def sql(self) -> str:
        return f"(NOT {self.of.sql()})"

    def columns(self) -> frozenset[str]:
        return self.of.columns()


@dataclass(frozen=True, eq=False)
class IsNull(Expr):
    """Whether a value is missing."""

    of: Expr

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool:
        return self.of.evaluate(row) is None

    def sql(self) -> str:
        return f"({self.of.sql()} IS NULL)"

    def columns(self) -> frozenset[str]:
        return self.of.columns()


@dataclass(frozen=True, eq=False)
class Member(Expr):
    """Whether a text is one of many; null where it is null."""

    of: Expr
    values: frozenset[str]

    def __post_init__(self) -> None:
        if self.of.kind != STRING:
            raise TypeError(f"a {self.of.kind} is not looked up among texts")
        if len({len(value) for value in self.values}) != 1:
            # In one list they would share a CHAR type, and an engine may pad the shorter ones with blanks.
            raise ValueError("texts of several lengths, or none; use is_in")

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool | None:
        value = self.of.evaluate(row)
        return None if value is None else value in self.values

    def sql(self) -> str:
        return f"({self.of.sql()} IN ({', '.join(_quote(value) for value in sorted(self.values))}))"

    def columns(self) -> frozenset[str]:
        return self.of.columns()


@dataclass(frozen=True, eq=False)
class Matches(Expr):
    """Whether a whole text matches a regular expression; null where it is null.

    Raises TypeError where it is no text, ValueError for a pattern that the engines do not read alike.
    """

    of: Expr
    pattern: str

    def __post_init__(self) -> None:
        if self.of.kind != STRING:
            raise TypeError(f"a {self.of.kind} has no text that a pattern could match")
        check_pattern(self.pattern)

    @property
    def kind(self) -> Kind:
        return BOOLEAN

    def evaluate(self, row: Mapping[str, Any]) -> bool | None:
        value = self.of.evaluate(row)
        return None if value is None else re.fullmatch(self.pattern, value, re.DOTALL) is not None

    def sql(self) -> str:
        # Both look for a match anywhere. A dollar would stand before a last line break, too, and an end of text is
        # written with a backslash: no character at all must follow.
        return f"REGEXP({self.of.sql()}, {_quote(f'(?s)^(?:{self.pattern})(?!.)')})"

    def columns(self) -> frozenset[str]:
        return self.of.columns()


def _fits_ten_digits(side: Expr) -> bool:
    """Whether a long operand surely has at most 10 digits, as a product with money needs; true for other kinds."""
    if side.kind != LONG:
        return True
    if isinstance(side, Column):
        return side.of.name == "int"
    if isinstance(side, Constant):
        return abs(int(side.value)) < 10**10
    return isinstance(side, Mapped) and all(abs(v) < 10**10 for v in (side.default, *dict(side.values).values()))


@dataclass(frozen=True, eq=False)
class Arithmetic(Expr):
    """Sum, difference or product; null where either side is.

    Long with long stays a long, a decimal with a long or a decimal gives MONEY (decimal(38, 4)), anything with a
    double a double. There is no division: it is where engines differ most, and no monoid needs it.
    """

    op: str
    left: Expr
    right: Expr

    def __post_init__(self) -> None:
        for side in (self.left, self.right):
            if side.kind.name not in ("long", "double", "decimal"):
                raise TypeError(f"{self.op} takes numbers, not a {side.kind}")
        scales = [side.kind.args[1] for side in (self.left, self.right) if side.kind.name == "decimal"]
        if self.kind.name == "decimal" and (sum(scales) if self.op == "*" else max(scales)) > MONEY.args[1]:
            raise TypeError(f"the result of {self.op} has more than {MONEY.args[1]} decimals and would be rounded")
        if self.kind == MONEY and not all(_fits_ten_digits(side) for side in (self.left, self.right)):
            raise TypeError(f"{self.op} of money takes ints of at most 10 digits: not a time, nor a sum or a product")

    @property
    def kind(self) -> Kind:
        names = {self.left.kind.name, self.right.kind.name}
        if "double" in names:
            return DOUBLE
        return MONEY if "decimal" in names else LONG

    def evaluate(self, row: Mapping[str, Any]) -> Any:
        left, right = self.left.evaluate(row), self.right.evaluate(row)
        if left is None or right is None:
            return None
        if self.kind == DOUBLE:
            left, right = float(left), float(right)
        elif self.kind == MONEY:
            left, right = Decimal(left), Decimal(right)
        match self.op:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
        raise ValueError(f"arithmetic {self.op} is not known")

    def _operand(self, side: Expr) -> str:
        if self.kind == DOUBLE:
            return f"CAST({side.sql()} AS DOUBLE)"
        if self.kind == MONEY and side.kind == LONG:
            # 10 digits hold every declared int; 18 + 10 + 1 leaves the product's scale untouched in both engines.
            return f"CAST({side.sql()} AS DECIMAL(10, 0))"
        return side.sql()

    def sql(self) -> str:
        text = f"({self._operand(self.left)} {self.op} {self._operand(self.right)})"
        return f"CAST({text} AS {sql_type(MONEY)})" if self.kind == MONEY else text

    def columns(self) -> frozenset[str]:
        return self.left.columns() | self.right.columns()


class _Event:
    """The fields of an event, as expressions: ``event.price``, and ``type``, ``time``, ``weight`` for short."""

    @property
    def type(self) -> Column:
        return Column("event_type", STRING)

    @property
    def time(self) -> Column:
        return Column("event_ms", LONG)

    @property
    def weight(self) -> Mapped:
        """The declared weight of the event's type (common.contracts.events.EVENT_WEIGHTS)."""
        return Mapped(self.type, tuple(EVENT_WEIGHTS.items()), 0)

    @property
    def previous_item_id(self) -> Column:
        """The item before it in the session (common.features.previous)."""
        return Column(PREVIOUS_ITEM, STRING)

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return Column(name, EVENTS.field(name).kind)


event = _Event()
