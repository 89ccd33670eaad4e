"""Champion and challenger: who becomes the live model."""

import pytest

from common.promotion import Group, verdict


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


@pytest.mark.parametrize(
    ("figure", "recorded", "largest_drop", "promote"),
    [
        (0.12, 0.15, 0.2, True),  # just 20 % below
        (0.1199, 0.15, 0.2, False),
        (0.12, None, 0.0, True),
        (0.12, 0.15, 1.0, True),
        (0.12, 0.1201, 0.0, False),
    ],
)
def test_a_model_far_below_what_the_live_one_reached_on_its_own_night_is_held(
    figure: float, recorded: float | None, largest_drop: float, promote: bool
) -> None:
    decided = verdict(500, 100, figure, 0.05, None, "promote", recorded=recorded, largest_drop=largest_drop)
    assert decided.promote is promote
    assert promote or "below the 0.1" in decided.why and "look whether events are missing" in decided.why


@pytest.mark.parametrize(
    ("group", "promote"),
    [
        (Group(50, 0.04, 0.10), False),
        (Group(49, 0.00, 0.10), True),  # too few to tell
        (Group(50, 0.05, 0.10), True),
        (Group(50, 0.00, 0.00), True),  # popularity does no better
    ],
)
def test_a_model_that_fails_a_group_is_held_whatever_its_mean(group: Group, promote: bool) -> None:
    fine = Group(400, 0.2, 0.1)
    decided = verdict(500, 100, 0.12, 0.05, None, "promote", groups={"Loyal": fine, "Newcomers": group})
    assert decided.promote is promote
    assert promote or "the 50 visitors in 'Newcomers'" in decided.why
