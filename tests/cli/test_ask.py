"""Why: an answer in readable lines, and what cannot be had in one."""

from typing import Any

import pytest

from cli.ask import basis, explained
from cli.main import main
from common.errors import DovetailError
from local.ports import free_ports

ANSWER: dict[str, Any] = {
    "degraded": True,
    "missing": ["batch.profile"],
    "sources": ["speed.user_embedding", "popularity"],
    "age_ms": {"batch": 3 * 3_600_000, "speed": 1_400},
    "view_version": "v20261120_1",
    "generation": "g1",
    "model_version": "m1",
    "recommendation_id": "r",
    "level": "session",
    "items": [
        {
            "item_id": "A1",
            "title": "Teapot",
            "category": "home.tea",
            "score": 1.25,
            "parts": {"relevance": 1.0, "interest": 0.25, "popularity": 0.0},
            "reasons": [{"kind": "acted", "text": "Because you viewed Cup", "share": 0.8, "item_id": "B2"}],
        },
        {"item_id": "B2", "score": 0.5, "reasons": [{"kind": "trending", "text": "Popular right now", "share": 1.0}]},
    ],
}


def test_an_answer_says_what_it_rests_on_and_why_each_item_is_there() -> None:
    lines = explained(ANSWER, None)
    assert lines[:2] == ["level        session", "made from    speed.user_embedding, popularity"]
    assert "batch        version v20261120_1, cut 3 hours ago" in lines
    assert "speed        generation g1, newest event 1 s ago" in lines
    assert "degraded     answered without batch.profile" in lines
    first = lines.index("  1. A1  Teapot  [home.tea]")
    assert lines[first + 1 : first + 4] == [
        "     score 1.250 from relevance 1.000 + interest 0.250",
        "      80%  Because you viewed Cup",
        "  2. B2",
    ]


def test_one_item_keeps_its_rank() -> None:
    lines = explained(ANSWER, "B2")
    assert "  2. B2" in lines and not any("A1" in line for line in lines)


def test_an_item_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DovetailError, match="C3 is not among the first 2"):
        explained(ANSWER, "C3")


def test_nothing_live_is_said_plainly() -> None:
    nothing = {
        **ANSWER,
        "degraded": False,
        "view_version": None,
        "generation": None,
        "model_version": None,
        "age_ms": {"batch": None, "speed": None},
    }
    assert basis(nothing) == ["batch        version none", "speed        generation none", "model        none"]


@pytest.mark.parametrize("argv", [["why", "u1"], ["status"]])
def test_a_serving_layer_that_is_away_is_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert main([*argv, "--set", f"serving.url={url}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and url in err and "does not answer" in err
