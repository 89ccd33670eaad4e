"""Persona cards: figures, words, overrides with provenance."""

from pathlib import Path
from typing import Any

import pytest

from common.centroids import PROTOTYPES
from common.errors import ConfigError, ContractError
from common.personas import (
    CHURN_AT_LEAST,
    MANNERS,
    PLAIN,
    Basket,
    Persona,
    card,
    churn_days,
    from_json,
    manner,
    overridden,
    read_overrides,
    shares,
    spread,
    to_json,
)

OVERRIDES = """
- segment: Newcomers
  by: anna
  when: 2026-11-18
  why: Twelve interviews
  set: {title: Gift Seekers, churn_days: 21}
- segment: 7
  by: ben
  when: 2026-11-19
  why: Of another segment
  set: {tone: None of theirs}
- segment: 3
  by: carla
  when: 2026-11-20
  why: Shorter
  set: {title: Givers}
"""


def newcomers(**more: Any) -> Persona:
    row = {"segment_id": 3, "segment": "Newcomers", "size": 40, "recency_days": 9.0, "frequency": 1.1, "monetary": 50.0}
    given: dict[str, Any] = {
        "visitors": 160,
        "counts": {"category": {"tea.green": 30.0, "cups": 10.0}, "hour": {"20": 3.0, "9": 1.0}, "weekday": {"6": 4.0}},
        "shop": {"category": {"tea.green": 50.0, "cups": 50.0}, "hour": {"20": 4.0, "9": 4.0}, "weekday": {"6": 8.0}},
        "basket": Basket(orders_each=1.1, value=45.5, units=2.0),
        "gap_days": 12.0,
    }
    return card(row, **(given | more))


def test_a_card_says_what_its_figures_are() -> None:
    made = newcomers()
    assert (made.share, made.churn_days) == (0.25, 12)
    assert [(c.name, c.share, c.lift) for c in made.categories] == [("tea.green", 0.75, 1.5), ("cups", 0.25, 0.5)]
    assert made.hours[20] == 0.75 and sum(made.hours) == 1 and made.weekdays == [0, 0, 0, 0, 0, 0, 1.0]
    assert made.devices == [] and made.overrides == []
    assert made.summary == (
        "40 visitors, 25% of those who bought. They like green best. 1.1 orders each, 45.50 a basket. "
        "Most active around 20:00 UTC."
    )
    assert from_json(to_json(made)) == made


def test_a_segment_that_did_nothing_has_a_card_too() -> None:
    made = newcomers(counts={}, shop={}, basket=Basket(orders_each=0.0, value=0.0, units=0.0), gap_days=None)
    assert made.summary == "40 visitors, 25% of those who bought."
    assert made.churn_days == 18 and "twice" in made.churn_trigger
    assert made.hours == [0.0] * 24


def test_every_name_has_a_manner_and_a_number_does_not_change_it() -> None:
    assert set(MANNERS) == {prototype.name for prototype in PROTOTYPES}
    assert manner("Newcomers 2") == MANNERS["Newcomers"]
    assert manner("Newcomersish") == PLAIN


@pytest.mark.parametrize(("gap", "recency", "days"), [(30.0, 5.0, 30), (2.0, 5.0, CHURN_AT_LEAST), (None, 40.2, 80)])
def test_the_churn_trigger(gap: float | None, recency: float, days: int) -> None:
    assert churn_days(gap, recency) == days


def test_shares_are_of_the_whole_and_ordered() -> None:
    found = shares({"b": 1, "a": 1, "c": 2}, {"a": 1, "b": 1, "c": 2}, most=2)
    assert [(s.name, s.share) for s in found] == [("c", 0.5), ("a", 0.25)]
    rest = shares({"other": 6, "a": 2}, {"other": 6, "a": 2}, most=2)
    assert [(s.name, s.share) for s in rest] == [("a", 0.25)], "the rest has its share, but no name"
    assert shares({}, {}, 3) == []
    assert spread({"1": 3, "x": 9}, ["0", "1"]) == [0.0, 1.0]


def test_overrides_keep_what_was_said_and_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "personas.yaml"
    path.write_text(OVERRIDES)
    made = overridden(newcomers(), read_overrides(path))
    assert (made.title, made.segment, made.churn_days, made.tone) == ("Givers", "Newcomers", 21, newcomers().tone)
    told = [(o.field, o.before, o.by, o.when, o.why) for o in made.overrides]
    assert told == [
        ("title", "Newcomers", "anna", "2026-11-18", "Twelve interviews"),
        ("churn_days", 12, "anna", "2026-11-18", "Twelve interviews"),
        ("title", "Gift Seekers", "carla", "2026-11-20", "Shorter"),
    ]
    assert from_json(to_json(made)) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- segment: 1\n  when: 2026-11-18\n  why: x\n  set: {}", "0.by: Field required"),
        ("- segment: 1\n  by: a\n  when: soon\n  why: x\n  set: {}", "0.when"),
        ("- segment: 1\n  by: a\n  when: 2026-11-18\n  why: x\n  set: {size: 3}", "0.set.size"),
        ("segment: 1", "the file: Input should be a valid list"),
        ("- [", "is not YAML"),
    ],
)
def test_overrides_that_are_none_are_refused_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "personas.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        read_overrides(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="there is no file"):
        read_overrides(tmp_path / "none.yaml")
    path.write_text("")
    assert read_overrides(path) == []


def test_a_text_that_is_no_card_is_refused() -> None:
    with pytest.raises(ContractError, match="is not a persona"):
        from_json("{}")
