"""Pairs are drawn, compared and weighed as declared; the weights are found without a label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import IncompleteInput
from common.resolution.blocking import neighbours, trigram_bands
from common.resolution.comparisons import COMPARISONS, FIELDS, SIZES, patterns, similarity, unpacked
from common.resolution.weights import Tally, bits_of, learn, probability

NAMES = [each.name for each in COMPARISONS]


def texts(*values):
    return np.array(values, dtype=object)


def levels(left, right):
    """The names of the levels of one pair, by comparison."""
    columns = ({x: texts(side.get(x, "")) for x in FIELDS} for side in (left, right))
    digits = unpacked(patterns(*columns))[0]
    return {each.name: each.levels[digit] for each, digit in zip(COMPARISONS, digits, strict=True)}


def test_jaro_winkler_is_that_of_the_literature():
    found = similarity(texts("martha", "dwayne", "dixon"), texts("marhta", "duane", "dicksonx"))
    assert found == pytest.approx([0.9611, 0.84, 0.8133], abs=1e-4)


@pytest.mark.parametrize(
    ("comparison", "left", "right", "level"),
    [
        ("given_name", {"given": "anna"}, {}, "missing"),
        ("given_name", {"given": "anna"}, {"given": "anna"}, "equal"),
        ("given_name", {"given": "martha"}, {"given": "marhta"}, "close"),
        ("given_name", {"given": "dwayne"}, {"given": "duane"}, "near"),
        ("given_name", {"given": "anna"}, {"given": "peter"}, "differs"),
        ("given_name", {"given": "anna", "family": "berg"}, {"given": "berg", "family": "anna"}, "crossed"),
        ("family_name", {"given": "anna", "family": "berg"}, {"given": "berg", "family": "anna"}, "missing"),
        ("family_name", {"family": "berg"}, {"family": "stone"}, "differs"),
        ("birth_date", {"birth": "19800131"}, {"birth": "19800131"}, "equal"),
        ("birth_date", {"birth": "19800312"}, {"birth": "19801203"}, "day_month_swapped"),
        ("birth_date", {"birth": "19800131"}, {"birth": "19800113"}, "one_edit"),
        ("birth_date", {"birth": "19800131"}, {"birth": "19810132"}, "two_edits"),
        ("birth_date", {"birth": "19800131"}, {"birth": "19531224"}, "differs"),
        ("birth_date", {"birth": ""}, {"birth": "19531224"}, "missing"),
        ("house_number", {"house": "12"}, {"house": "120"}, "one_edit"),
        ("house_number", {"house": "12"}, {"house": "7"}, "differs"),
        ("street", {"street": "elmlane", "extended": "mill"}, {"street": "mill", "extended": "elmlane"}, "crossed"),
        ("extended_address", {"extended": "millhouse"}, {"extended": "millhouze"}, "close"),
        ("place", {"locality": "bergen", "postal": "5003"}, {"locality": "bergen", "postal": "5003"}, "both_agree"),
        ("place", {"locality": "bergen", "postal": "5003"}, {"locality": "begen", "postal": "5030"}, "both_similar"),
        (
            "place",
            {"locality": "bergen", "postal": "5003"},
            {"locality": "oslo", "postal": "5003"},
            "postal_code_equal",
        ),
        ("place", {"locality": "bergen", "postal": "5003"}, {"locality": "bergen", "postal": "9999"}, "one_similar"),
        ("place", {"locality": "bergen", "postal": "5003"}, {"locality": "oslo", "postal": "9999"}, "differs"),
        ("place", {"locality": "bergen"}, {"postal": "5003"}, "missing"),
        ("email", {"email": "k1_a"}, {"email": "k1_b"}, "differs"),
        ("phone", {"phone": "k1_a"}, {"phone": "k1_a"}, "equal"),
    ],
)
def test_each_level_has_its_pair(comparison, left, right, level):
    assert levels(left, right)[comparison] == levels(right, left)[comparison] == level


@given(st.lists(st.tuples(*(st.integers(0, size - 1) for size in SIZES)), max_size=20))
def test_a_pattern_is_its_levels(rows):
    packed = [sum(digit * int(np.prod(SIZES[:at])) for at, digit in enumerate(row)) for row in rows]
    assert unpacked(np.array(packed, np.int64)).tolist() == [list(row) for row in rows]


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 6), st.integers(0, 40))
def test_neighbours_are_the_close_rows_of_a_block_each_once(blocks, window, fresh):
    blocks = np.sort(np.array(blocks, np.int64))
    pairs = list(zip(*(side.tolist() for side in neighbours(blocks, window, fresh)), strict=True))
    expected = {
        (left, right)
        for right in range(fresh, len(blocks))
        for left in range(max(0, right - window), right)
        if blocks[left] == blocks[right]
    }
    assert len(pairs) == len(set(pairs)) and set(pairs) == expected


def bands_of(texts, bands, rows):
    """The bands of texts that begin in the middle of a buffer."""
    raw = [text.encode() for text in texts]
    offsets = np.cumsum([5, *map(len, raw)])
    data = np.frombuffer(b"-----" + b"".join(raw) + b"--", np.uint8)
    return trigram_bands(data, offsets.astype(np.int64), bands, rows, seed=3)


def trigrams(text):
    raw = text.encode()
    return {raw[at : at + 3] for at in range(len(raw) - 2)}


def test_bands_are_shared_as_often_as_trigrams_are():
    left, right = "anna berg 19800131 elm lane oslo", "anna bergh 19800131 elm lane oslo"
    both, either = trigrams(left) & trigrams(right), trigrams(left) | trigrams(right)
    share = len(both) / len(either)
    one, other = bands_of([left, right], bands=4_000, rows=2)
    assert (one == other).mean() == pytest.approx(share**2, abs=0.03)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_bands_hang_on_the_text_alone_and_short_texts_have_none(texts):
    bands = bands_of(texts, bands=3, rows=2)
    for text, found in zip(texts, bands, strict=True):
        alone = bands_of([text], bands=3, rows=2)[0]
        assert found.tolist() == alone.tolist()
        assert (found == 0).all() == (len(text.encode()) < 3)


# Weights


def drawn(rng, shares, count):
    """Patterns of ``count`` pairs whose levels are drawn from the shares of each comparison."""
    digits = [rng.choice(len(share), count, p=share) for share in shares]
    return sum(digit * int(np.prod(SIZES[:at])) for at, digit in enumerate(digits))


def counted(*patterns_of_classes):
    pattern, pairs = np.unique(np.concatenate(patterns_of_classes), return_counts=True)
    return Tally(pattern, pairs.astype(float))


def shares(agreeing, missing=0.05):
    """Per comparison: so many missing, so many on its best level, the rest evenly on the others."""
    made = []
    for each in COMPARISONS:
        best = next(i for i, level in enumerate(each.levels) if level in ("equal", "both_agree"))
        share = np.full(len(each.levels), (1 - missing - agreeing[each.name]) / (len(each.levels) - 2))
        share[0], share[best] = missing, agreeing[each.name]
        made.append(share)
    return made


MATCH = shares({name: 0.9 for name in NAMES})
STRANGER = shares({name: 0.01 for name in NAMES})
HOUSEHOLD = [
    match if each.shared else stranger for each, match, stranger in zip(COMPARISONS, MATCH, STRANGER, strict=True)
]


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(7)
    counts = {"match": 6_000, "household": 20_000, "stranger": 60_000}
    classes = [drawn(rng, s, n) for s, n in zip((MATCH, HOUSEHOLD, STRANGER), counts.values(), strict=True)]
    random = drawn(rng, STRANGER, 200_000)
    return counts, classes, learn(counted(*classes), counted(random), all_pairs=1e8)


def test_known_shares_are_found_without_labels_though_households_outnumber_matches(simulated):
    counts, _, weights = simulated
    assert weights.match_share * 1e8 == pytest.approx(counts["match"], rel=0.03)
    assert weights.household_share * 1e8 == pytest.approx(counts["household"], rel=0.03)
    for found, true in ((weights.m, MATCH), (weights.u, STRANGER)):
        for share, known in zip(found, true, strict=True):
            assert share[1:] == pytest.approx(known[1:] / known[1:].sum(), abs=0.02)


def test_the_weight_tells_matches_from_households_and_strangers(simulated):
    _, (matches, households, strangers), weights = simulated
    assert (weights.of(matches) > 0).mean() > 0.97
    assert (weights.of(households) > 0).mean() < 0.03
    assert (weights.of(strangers) > 0).mean() < 0.001


def test_a_weight_in_bits_is_the_log_of_the_odds():
    assert probability(np.array([0.0, 1.0, -2000.0])).tolist() == pytest.approx([0.5, 2 / 3, 0.0])
    assert probability(bits_of(0.9)) == pytest.approx(0.9)


def test_what_is_missing_weighs_nothing(simulated):
    weights = simulated[2]
    nothing_known = weights.of(np.zeros(1, np.int64))[0]
    assert probability(nothing_known) == pytest.approx(weights.match_share, rel=1e-6)


def test_nothing_to_learn_from_is_said():
    nothing = Tally(np.empty(0, np.int64), np.empty(0))
    with pytest.raises(IncompleteInput, match="no two customers share a block"):
        learn(nothing, nothing, 1.0)


def test_two_who_agree_on_all_are_one_though_no_other_pair_is_drawn():
    both = {name: np.array([f"{name} 1980"]) for name in FIELDS}
    alike = Tally(patterns(both, both), np.ones(1))
    weights = learn(alike, Tally(np.empty(0, np.int64), np.empty(0)), 1.0)
    assert probability(weights.of(alike.pattern)[0]) > 0.99


def test_what_was_learned_is_told_by_name(simulated):
    told = simulated[2].told()
    assert list(told) == NAMES
    m, u, bits = told["email"]["equal"]
    assert bits == pytest.approx(np.log2(m / u), abs=0.05)
