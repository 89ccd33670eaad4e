"""Drift: the measure by hand and by its properties, and when it asks for training."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.drift import retraining, stability_index

HISTOGRAM = st.lists(st.integers(0, 10_000), min_size=1, max_size=12).filter(any)


def test_the_index_of_two_bins_by_hand() -> None:
    # With half an observation in each bin: 7.5 and 2.5 of 10 before, 5.5 and 4.5 now.
    expected = (0.55 - 0.75) * math.log(0.55 / 0.75) + (0.45 - 0.25) * math.log(0.45 / 0.25)
    assert stability_index([7, 2], [5, 4]) == pytest.approx(expected)
    assert expected == pytest.approx(0.17959, abs=1e-5)


def test_an_empty_bin_tells_a_finite_figure() -> None:
    # 5 of 100 events in a bin that had none of 100: parts of 0.5/101 and 5.5/101, the other 100.5/101 and 95.5/101.
    expected = (5 * math.log(11) + 5 * math.log(100.5 / 95.5)) / 101
    assert stability_index([0, 100], [5, 95]) == pytest.approx(expected)


@given(HISTOGRAM, st.data())
def test_the_index_is_symmetric_and_nought_for_equal_parts_alone(before: list[int], data: st.DataObject) -> None:
    now = data.draw(st.lists(st.integers(0, 10_000), min_size=len(before), max_size=len(before)).filter(any))
    assert stability_index(before, before) == 0
    assert stability_index(before, now) == pytest.approx(stability_index(now, before))
    assert stability_index(before, now) >= 0
    if sum(before) == sum(now) and before != now:
        assert stability_index(before, now) > 0


@pytest.mark.parametrize(("before", "now"), [([1, 2], [1]), ([0, 0], [1, 1]), ([1, 1], [0, 0]), ([], [])])
def test_what_can_not_be_compared_is_refused(before: list[int], now: list[int]) -> None:
    with pytest.raises(ValueError, match="histogram"):
        stability_index(before, now)


@pytest.mark.parametrize(
    ("age", "drift", "train", "says"),
    [
        (6.5, {"items": 0.02, "activity": 0.09}, False, "6.5 days old and drift 0.0900 of activity is below 0.1"),
        (6.5, {"items": 0.1, "activity": 0.09}, True, "drift 0.1000 of items reaches 0.1"),
        (7.0, {"items": 0.0}, True, "7 days old, 7 are allowed"),
        (1.0, {}, True, "no events to measure drift by"),
    ],
)
def test_an_old_model_or_a_drift_asks_for_training(age: float, drift: dict[str, float], train: bool, says: str) -> None:
    decided = retraining(age, 7, drift, 0.1)
    assert decided.train is train
    assert says in decided.why
