"""Rules for every test: a limit on its time, the process it runs in, and no skipping where nothing may be skipped."""

import os
from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from xdist.scheduler import LoadScopeScheduling

# Seconds, fixtures included: the first test of a kind pays for starting its JVM or its servers.
TIMEOUTS = {"platform": 600, "flink": 300, "spark": 300}
PURE_TIMEOUT = 120

# Where two processes share the tests (-n 2), files that need the same engine stay together, so that it starts once. The
# first beginning that fits decides; any other file is a group of its own. Groups are begun in the order of collection.
GROUPS = {
    # a Spark of its own for each job: it may run beside the session that the others share
    "tests/jobs/test_spark_submit.py": "servers",
    "tests/jobs/test_sigkill.py": "nights",
    "tests/jobs/": "spark",
    "tests/common/test_expressions_engines.py": "spark",
    "tests/local/test_spark_fixture.py": "spark",
    "tests/platform/": "servers",
    "tests/serving/": "servers",
    "tests/streaming/": "flink",
    "tests/views/": "cassandra",
}

# The upgrade of a running system on real servers belongs to the long form, `make test-faults`.
collect_ignore = [] if os.environ.get("DOVETAIL_FAULTS") == "long" else ["tests/platform/test_upgrade.py"]

NO_SKIP = "DOVETAIL_NO_SKIP"

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            limits = [limit for kind, limit in TIMEOUTS.items() if item.get_closest_marker(kind)]
            item.add_marker(pytest.mark.timeout(max(limits, default=PURE_TIMEOUT)))


def group_of(nodeid: str) -> str:
    """The group of a test, which one process runs as a whole."""
    file = nodeid.partition("::")[0]
    return next((group for begin, group in GROUPS.items() if file.startswith(begin)), file)


class GroupScheduling(LoadScopeScheduling):
    """Gives whole groups to processes; ``--dist loadgroup`` writes them where pytest 9.2 no longer reads them."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


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
