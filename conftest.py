"""Rules for every test: a limit on its time, the process it runs in, and no skipping where nothing may be skipped."""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

# Seconds, fixtures included: the first test of a kind pays for starting its JVM or its servers.
TIMEOUTS = {"platform": 600, "flink": 300, "spark": 300}
PURE_TIMEOUT = 120

# Where two processes share the tests (-n 2 --dist loadgroup), those that need the same engine stay together: it starts
# once. The first fixture that a test needs decides; the groups come out about as long as each other.
GROUPS = {"_spark_session": "spark", "flink_cluster": "platform", "kafka": "platform", "cassandra": "cassandra"}

NO_SKIP = "DOVETAIL_NO_SKIP"

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            limits = [limit for kind, limit in TIMEOUTS.items() if item.get_closest_marker(kind)]
            item.add_marker(pytest.mark.timeout(max(limits, default=PURE_TIMEOUT)))
        if item.get_closest_marker("xdist_group") is None and (group := _group(item)):
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item: pytest.Item) -> str | None:
    needed = getattr(item, "fixturenames", ())
    found = next((group for fixture, group in GROUPS.items() if fixture in needed), None)
    return found or ("flink" if item.get_closest_marker("flink") else None)


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
