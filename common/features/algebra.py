"""Aggregates that are commutative monoids, so that partial results merge in any order and to the same bytes.

Everything is exact: counts, decimals, minima, maxima and sums of fixed-point integers. An exponential decay is summed
as integers too, each event rounded once; sums of doubles change their last bits with the order of events.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from common.contracts.core import LONG, Kind
from common.features.expressions import Constant, Expr, event, sql_type
from common.features.windows import duration_ms

ALWAYS = Constant(True)

FIXED_POINT = 1_000_000_000
"""Units of a decayed sum: billionths, so a mass of 9 billion still fits 64 bits."""


@dataclass(frozen=True)
class Aggregate:
    """One aggregate of a feature group: its zero, lift, merge and finish, and its rendering in both engines."""

    of: Expr
    where: Expr
    function: ClassVar[str] = ""
    """The SQL aggregate function, the same in both engines."""

    @property
    def kind(self) -> Kind:
        """The kind of its column in a tile."""
        return self.of.kind

    @property
    def nullable(self) -> bool:
        """Whether its zero is null."""
        return self.zero() is None

    def zero(self) -> Any:
        """The value of no events at all."""
        return None

    def lift(self, row: Mapping[str, Any], tile_end_ms: int) -> Any:
        """The value of one event in a tile that ends (exclusive) at ``tile_end_ms``."""
        return self._value(row, tile_end_ms) if self.where.evaluate(row) is True else self.zero()

    def _value(self, row: Mapping[str, Any], tile_end_ms: int) -> Any:
        return self.of.evaluate(row)

    def merge(self, a: Any, b: Any) -> Any:
        """The value of both sets of events; commutative and associative."""
        raise NotImplementedError

    def rescale(self, value: Any, from_ms: int, to_ms: int) -> Any:
        """The value of the same events relative to a later tile end, ``to_ms >= from_ms``."""
        return value

    def finish(self, value: Any) -> Any:
        """The feature's value for its reader, relative to the instant the value was last scaled to."""
        return value

    def _argument(self, tile_end_sql: str) -> str:
        """SQL of what one event contributes where the condition holds."""
        return self.of.sql()

    def _sql(self, tile_end_sql: str) -> str:
        raise NotImplementedError

    def spark(self, tile_end_sql: str) -> str:
        """Spark SQL aggregate over the events of one tile; ``tile_end_sql`` is a BIGINT expression."""
        return self._sql(tile_end_sql)

    def flink(self, tile_end_sql: str, over: str = "w") -> str:
        """Flink SQL OVER aggregate: the tile's running value as a column of the event's row."""
        return f"{self._sql(tile_end_sql)} OVER {over}"


@dataclass(frozen=True)
class _Sum(Aggregate):
    def zero(self) -> Any:
        return 0

    def _value(self, row: Mapping[str, Any], tile_end_ms: int) -> Any:
        value = self.of.evaluate(row)
        return self.zero() if value is None else value

    def merge(self, a: Any, b: Any) -> Any:
        return a + b

    def _sql(self, tile_end_sql: str) -> str:
        kind = sql_type(self.kind)
        value = f"COALESCE({self._argument(tile_end_sql)}, CAST(0 AS {kind}))"
        return f"SUM(CASE WHEN {self.where.sql()} THEN {value} ELSE CAST(0 AS {kind}) END)"


@dataclass(frozen=True)
class Count(_Sum):
    """How many events meet the condition."""


@dataclass(frozen=True)
class Total(_Sum):
    """The sum of an exact value, a long or a decimal; null adds nothing."""

    def __post_init__(self) -> None:
        if self.kind.name not in ("long", "decimal"):
            raise TypeError(f"a total of {self.kind} would depend on the order of events; use a long or a decimal")


@dataclass(frozen=True)
class Decayed(_Sum):
    """A sum that halves with every half-life, held in billionths relative to the tile's end.

    An event of weight w at t adds floor(w * 0.5 ** ((tile_end - t) / half_life) * 1e9 + 0.5). The exponent's base is
    below one and t lies before the tile's end, so no term overflows.
    """

    half_life_ms: int = 0

    @property
    def kind(self) -> Kind:
        return LONG

    def _value(self, row: Mapping[str, Any], tile_end_ms: int) -> int:
        weight, at = self.of.evaluate(row), row["event_ms"]
        if weight is None:
            return 0
        decay = 0.5 ** (float(tile_end_ms - at) / float(self.half_life_ms))
        return math.floor(float(weight) * decay * float(FIXED_POINT) + 0.5)

    def rescale(self, value: int, from_ms: int, to_ms: int) -> int:
        if to_ms < from_ms:
            raise ValueError("a decayed sum is scaled to a later instant only: an exponent above zero could overflow")
        return math.floor(float(value) * 0.5 ** ((to_ms - from_ms) / self.half_life_ms) + 0.5)

    def finish(self, value: int) -> float:
        return value / FIXED_POINT

    def rescale_sql(self, value_sql: str, from_sql: str, to_sql: str) -> str:
        """SQL of :meth:`rescale`, for rolling day tiles up."""
        decay = _power_of_half(f"{to_sql} - {from_sql}", self.half_life_ms)
        return f"CAST(FLOOR(CAST({value_sql} AS DOUBLE) * {decay} + CAST(0.5 AS DOUBLE)) AS BIGINT)"

    def _argument(self, tile_end_sql: str) -> str:
        decay = _power_of_half(f"{tile_end_sql} - `event_ms`", self.half_life_ms)
        weight = f"CAST({self.of.sql()} AS DOUBLE)"
        units = f"{weight} * {decay} * CAST({FIXED_POINT} AS DOUBLE)"
        return f"CAST(FLOOR({units} + CAST(0.5 AS DOUBLE)) AS BIGINT)"


def _power_of_half(span_sql: str, half_life_ms: int) -> str:
    return f"POWER(CAST(0.5 AS DOUBLE), CAST({span_sql} AS DOUBLE) / CAST({half_life_ms} AS DOUBLE))"


@dataclass(frozen=True)
class _Extreme(Aggregate):
    def __post_init__(self) -> None:
        if self.kind.name == "string":
            raise TypeError("texts have no order that all engines share, so they have no minimum or maximum")

    def merge(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return b if a is None else a
        return self._pick(a, b)

    def _pick(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def _sql(self, tile_end_sql: str) -> str:
        return f"{self.function}(CASE WHEN {self.where.sql()} THEN {self._argument(tile_end_sql)} END)"


@dataclass(frozen=True)
class Minimum(_Extreme):
    """The smallest value; null where no event meets the condition."""

    function: ClassVar[str] = "MIN"

    def _pick(self, a: Any, b: Any) -> Any:
        return min(a, b)


@dataclass(frozen=True)
class Maximum(_Extreme):
    """The largest value; null where no event meets the condition."""

    function: ClassVar[str] = "MAX"

    def _pick(self, a: Any, b: Any) -> Any:
        return max(a, b)


@dataclass(frozen=True)
class Latest(Maximum):
    """The newest instant at which the condition held, in epoch milliseconds."""


def count(where: Expr = ALWAYS) -> Count:
    """How many events meet ``where``."""
    return Count(Constant(1), where)


def total(of: Expr, where: Expr = ALWAYS) -> Total:
    """The exact sum of ``of`` over the events that meet ``where``."""
    return Total(of, where)


def minimum(of: Expr, where: Expr = ALWAYS) -> Minimum:
    """The smallest ``of`` over the events that meet ``where``."""
    return Minimum(of, where)


def maximum(of: Expr, where: Expr = ALWAYS) -> Maximum:
    """The largest ``of`` over the events that meet ``where``."""
    return Maximum(of, where)


def latest(where: Expr = ALWAYS) -> Latest:
    """When ``where`` held last, in epoch milliseconds."""
    return Latest(event.time, where)


def decayed(of: Expr, half_life: str, where: Expr = ALWAYS) -> Decayed:
    """The sum of ``of``, halved with every ``half_life`` (a span such as ``"7 days"``)."""
    return Decayed(of, where, duration_ms(half_life))
