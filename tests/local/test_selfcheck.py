"""The report counts what it measured, and nothing passes by not being measured."""

import io
import json

import pytest
from rich.console import Console

from local.selfcheck import Check, Report, latency, percentile


def test_counts_and_json(tmp_path):
    report = Report(seconds=12.34, peak_memory_gib=1.234)
    report.add(Check("a", True, 3, "rows", 3))
    report.add(Check("b", False, 2, "rows", 3))
    report.add(Check("c", None, None, "", "", "needs 200 test users, there are 12"))
    report.write(tmp_path / "x" / "selfcheck.json")
    body = json.loads((tmp_path / "x" / "selfcheck.json").read_text())
    assert (body["passed"], body["failed"], body["insufficient"]) == (1, 1, 1)
    assert body["checks"][1] == {"name": "b", "passed": False, "value": 2, "unit": "rows", "goal": 3, "detail": ""}
    assert (body["seconds"], body["peak_memory_gib"]) == (12.3, 1.23)


def test_a_check_that_was_not_reached_fails():
    report = Report()
    report.add(Check("a", True, 1, "", 1))
    report.require(("a", "b"))
    assert (report.passed, report.failed) == (1, 1)


def test_a_check_is_made_once():
    report = Report()
    report.add(Check("a", True, 1, "", 1))
    with pytest.raises(ValueError, match="made twice"):
        report.add(Check("a", True, 1, "", 1))


@pytest.mark.parametrize(
    ("samples", "passed", "verdict"),
    [
        ([10.0] * 99 + [20.0], True, "goal met"),
        ([90.0], True, "goal missed"),
        ([251.0], False, "beyond"),
        ([], False, "no sample"),
    ],
)
def test_a_latency_fails_only_beyond_ten_times_its_goal(samples, passed, verdict):
    check = latency("l", samples, {"p99": 25})
    assert check.passed is passed
    assert verdict in check.detail


def test_percentile_is_by_nearest_rank():
    assert percentile([3.0, 1.0, 2.0, 4.0], 50) == 2.0
    assert percentile(list(map(float, range(1, 101))), 99) == 99.0


def test_the_last_line_counts():
    out = io.StringIO()
    report = Report()
    report.add(Check("a", True, {"p50": 1.5, "rows": 12000}, "ms", {"p50": 400}))
    report.show(Console(file=out, width=140))
    assert out.getvalue().rstrip().splitlines()[-1] == "1 passed, 0 failed"
    assert "p50 1.5, rows 12,000 ms" in out.getvalue()
