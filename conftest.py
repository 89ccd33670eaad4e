"""Rules for every test: a limit on its time, and no skipping where nothing may be skipped."""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

# Seconds, fixtures included: the first test of a kind pays for starting its JVM or its servers.
TIMEOUTS = {"platform": 600, "flink": 300, "spark": 300}
PURE_TIMEOUT = 120

NO_SKIP = "DOVETAIL_NO_SKIP"

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            limits = [limit for kind, limit in TIMEOUTS.items() if item.get_closest_marker(kind)]
            item.add_marker(pytest.mark.timeout(max(limits, default=PURE_TIMEOUT)))


def _refuse_skip(report: R) -> R:
    if os.environ.get(NO_SKIP) and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{NO_SKIP} is set: nothing may be skipped here. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))
