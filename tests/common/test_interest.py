"""The stated interest update: its golden value, its properties, and its four faults mended."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.interest import update_interest

DAY = 86_400_000
interests = st.dictionaries(st.sampled_from(["tech", "fashion", "sports", "home"]), st.floats(0, 10), max_size=4)


def test_golden() -> None:
    assert update_interest({"tech": 0.3, "fashion": 0.5, "sports": 0.2}, "tech") == pytest.approx(
        {"tech": 0.37, "fashion": 0.45, "sports": 0.18}, abs=1e-12
    )


def test_a_category_not_yet_there_enters() -> None:
    assert update_interest({"tech": 1.0}, "sports") == pytest.approx({"tech": 0.9, "sports": 0.1})


@pytest.mark.parametrize("start", [{}, {"tech": 0.0}, {"tech": 0.0, "sports": 0.0}])
def test_a_vector_without_mass_becomes_the_category(start: dict[str, float]) -> None:
    assert update_interest(start, "tech") == {"tech": 1.0}


def test_the_input_is_not_changed() -> None:
    start = {"tech": 0.3, "fashion": 0.7}
    update_interest(start, "tech")
    assert start == {"tech": 0.3, "fashion": 0.7}


def test_weight_counts_as_repeated_interactions() -> None:
    start = {"tech": 0.3, "fashion": 0.5, "sports": 0.2}
    thrice = start
    for _ in range(3):
        thrice = update_interest(thrice, "tech")
    assert update_interest(start, "tech", weight=3) == pytest.approx(thrice, abs=1e-12)
    assert update_interest(start, "tech", weight=0) == pytest.approx(start, abs=1e-12)


def test_older_interests_weigh_less() -> None:
    start = {"tech": 0.5, "fashion": 0.5}
    fresh = update_interest(start, "tech", elapsed_ms=0, half_life_ms=7 * DAY)
    week = update_interest(start, "tech", elapsed_ms=7 * DAY, half_life_ms=7 * DAY)
    assert fresh == update_interest(start, "tech") == update_interest(start, "tech", elapsed_ms=-5, half_life_ms=DAY)
    # Halved: 0.9 * 0.5 of the old mass stays beside 0.1 of new.
    assert week == pytest.approx({"tech": (0.225 + 0.1) / 0.55, "fashion": 0.225 / 0.55})
    assert update_interest(start, "home", elapsed_ms=10**7 * DAY, half_life_ms=DAY) == {"home": 1.0}
    assert update_interest(start, "home", weight=0, elapsed_ms=10**7 * DAY, half_life_ms=DAY) == start


@given(
    interests,
    st.sampled_from(["tech", "garden"]),
    st.floats(0, 100),
    st.integers(-DAY, 1000 * DAY),
    st.none() | st.integers(1, 100 * DAY),
    st.floats(0.001, 0.999),
)
def test_shares_stay_shares(start, category, weight, elapsed, half_life, rate) -> None:
    after = update_interest(
        start, category, weight=weight, elapsed_ms=elapsed, half_life_ms=half_life, learning_rate=rate
    )
    assert all(0 < share <= 1 + 1e-12 for share in after.values())
    assert not after or math.isclose(math.fsum(after.values()), 1, abs_tol=1e-9)
    mass = math.fsum(start.values())
    if mass > 0:
        assert after.get(category, 0) >= start.get(category, 0) / mass - 1e-9


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"learning_rate": 1},
        {"weight": -1},
        {"weight": math.inf},
        {"weight": math.nan},
        {"half_life_ms": 0},
    ],
)
def test_arguments_out_of_bounds_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        update_interest({"tech": 1.0}, "tech", **wrong)


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        update_interest({"tech": share}, "tech")
