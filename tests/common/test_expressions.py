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


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "a|", "|a", "()", "(a", "a)", "a**", "a*?", "a++", "*a", "a{,2}", "a{2,1}", "a{1001}", "(a+)*", "(ab)+"),
        *(r"\d", r"a\\", "^a", "a$", "(?i)a", "(?:a)", "(?=a)", "[]", "[a", "a]", "[z-a]", "[[:alpha:]]", "[a&&b]"),
        *("[a--b]", "[a||b]", "[~~]", "[^]", "a{", "}", "é", "[é]", "a\n", "x{1,2}{3}"),
    ],
)
def test_a_pattern_that_engines_do_not_read_alike_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        event.query.matches(pattern)


def test_a_pattern_matches_the_whole_text_and_texts_alone() -> None:
    number = event.order_id.matches("[A-Z]?[0-9]{6}")
    found = {text: number.evaluate({"order_id": text}) for text in ("536365", "C536379", "C536379\n", "x536365", "")}
    assert found == {"536365": True, "C536379": True, "C536379\n": False, "x536365": False, "": False}
    assert number.evaluate({"order_id": None}) is None
    assert event.query.matches(".").evaluate({"query": "\n"}) is True
    with pytest.raises(TypeError, match="no text"):
        event.quantity.matches("[0-9]+")
