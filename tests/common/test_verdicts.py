"""A file of verdicts: each with its provenance, the last word on a pair, one line where it can't be read."""

import pytest
import yaml

from common.errors import ConfigError
from common.resolution.verdicts import last_words, read_verdicts

SAID = {"customer": "k1_b", "other": "k1_a", "verdict": "same", "by": "anna", "when": "2026-11-18", "why": "Rang both."}


def read(tmp_path, *verdicts):
    path = tmp_path / "verdicts.yaml"
    path.write_text(yaml.safe_dump(list(verdicts)))
    return read_verdicts(path)


def test_the_last_word_on_a_pair_holds_whichever_way_round_it_was_said(tmp_path):
    later = SAID | {"customer": "k1_a", "other": "k1_b", "verdict": "different", "when": "2026-11-18T12:00:00+02:00"}
    assert last_words(read(tmp_path, later, SAID)) == [
        {
            "customer_id": "k1_a",
            "other_id": "k1_b",
            "verdict": "different",
            "judged_by": "anna",
            "judged_ms": 1_794_996_000_000,
            "why": "Rang both.",
        }
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, "0.verdict: Input should be 'same' or 'different'"),
        ({"other": "k1_b"}, "two customers, not one"),
        ({"by": ""}, "0.by"),
        ({"because": "x"}, "0.because"),
    ],
)
def test_what_is_no_verdict_is_refused_in_one_line(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message) as refused:
        read(tmp_path, SAID | change)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="correct --verdicts"):
        read_verdicts(tmp_path / "none.yaml")
