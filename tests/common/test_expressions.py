"""What an expression refuses when it is declared, since the engines would differ or fail later."""

from decimal import Decimal

import pytest

from common.features.expressions import Constant, Mapped, event


@pytest.mark.parametrize(
    "value", [float("inf"), float("nan"), Decimal("NaN"), Decimal("-Infinity"), 2**63, -(2**63) - 1]
)
def test_a_literal_that_no_engine_holds_is_refused(value: float | Decimal | int) -> None:
    with pytest.raises(ValueError, match="literal|BIGINT"):
        Constant(value)


def test_a_decimal_with_an_exponent_keeps_its_value_and_gets_its_digits() -> None:
    assert Constant(Decimal("1E+2")).sql() == "CAST(100 AS DECIMAL(3, 0))"
    assert Constant(Decimal("1E+2")).evaluate({}) == 100


def test_a_mapping_whose_values_are_all_the_default_is_that_constant() -> None:
    mapped = Mapped(event.type, (("view", 0),), 0)
    assert mapped.sql() == "CAST(0 AS BIGINT)"
    assert mapped.evaluate({"event_type": "view"}) == 0


def test_money_takes_no_operand_that_may_overflow_its_digits() -> None:
    with pytest.raises(TypeError, match="10 digits"):
        _ = event.time * event.price
    with pytest.raises(TypeError, match="10 digits"):
        _ = event.price + Constant(10**10)
    assert (event.quantity * event.price).kind == (event.price * event.weight).kind
