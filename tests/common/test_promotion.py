"""Champion and challenger: who becomes the live model."""

import pytest

from common.promotion import verdict


@pytest.mark.parametrize(
    ("users", "figure", "popularity", "live", "unjudged", "promote", "says"),
    [
        (500, 0.12, 0.05, None, "hold", True, "above popularity's 0.0500"),
        (500, 0.05, 0.05, None, "promote", False, "not above popularity's"),
        (500, 0.12, 0.05, 0.12, "promote", False, "not above 0.1200 of the live model's recipe"),
        (500, 0.13, 0.05, 0.12, "hold", True, "and 0.1200 of the live model's recipe"),
        (99, 0.0, 0.0, None, "promote", True, "not judged: 99 test visitors, it takes 100"),
        (99, 0.9, 0.0, 0.1, "hold", False, "not judged"),
    ],
)
def test_a_challenger_must_be_better_than_both(users, figure, popularity, live, unjudged, promote, says) -> None:
    decided = verdict(users, 100, figure, popularity, live, unjudged)
    assert decided.promote is promote
    assert says in decided.why


def test_a_model_of_an_earlier_cut_does_not_replace_a_later_one() -> None:
    assert verdict(500, 100, 0.9, 0.1, None, "promote", outdated=True).promote is False
