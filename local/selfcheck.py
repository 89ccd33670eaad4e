"""The self-check's report: each check is a measurement with its goal, printed as a table and kept as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

LATENCY_TOLERANCE = 10.0
"""A latency fails only beyond ten times its goal: machines are noisy, and the figure is what counts."""


@dataclass(frozen=True)
class Check:
    """One measurement.

    ``passed`` is None only where the given data cannot show it; ``detail`` then says why. ``value`` and ``goal`` are
    in ``unit``; a value may be a mapping where one number does not say it.
    """

    name: str
    passed: bool | None
    value: Any
    unit: str
    goal: Any
    detail: str = ""


@dataclass
class Report:
    """The checks of one run, in the order they were made."""

    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    peak_memory_gib: float = 0.0

    def add(self, check: Check) -> Check:
        """Keep a check; raises ValueError where one of its name is there."""
        if any(have.name == check.name for have in self.checks):
            raise ValueError(f"the check {check.name} was made twice")
        self.checks.append(check)
        return check

    @property
    def passed(self) -> int:
        """Checks that passed."""
        return sum(check.passed is True for check in self.checks)

    @property
    def failed(self) -> int:
        """Checks that failed."""
        return sum(check.passed is False for check in self.checks)

    @property
    def insufficient(self) -> int:
        """Checks that the given data cannot show."""
        return sum(check.passed is None for check in self.checks)

    def require(self, names: tuple[str, ...]) -> None:
        """Add a failed check for each name that was not measured: what did not run did not pass."""
        made = {check.name for check in self.checks}
        for name in names:
            if name not in made:
                self.add(Check(name, False, None, "", "", "was not reached"))

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "checks": [asdict(check) for check in self.checks],
            "passed": self.passed,
            "failed": self.failed,
            "insufficient": self.insufficient,
            "seconds": round(self.seconds, 1),
            "peak_memory_gib": round(self.peak_memory_gib, 2),
        }
        path.write_text(json.dumps(body, indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Print the table of checks and, last, the line that counts them."""
        table = Table(title="Self-check", title_justify="left", show_lines=False)
        for column in ("", "check", "measured", "goal", "detail"):
            table.add_column(column, overflow="fold")
        marks = {True: "[green]passed[/]", False: "[red]FAILED[/]", None: "[yellow]no data[/]"}
        for check in self.checks:
            unit = f" {check.unit}" if check.unit else ""
            goal = "" if check.goal in ("", None) else f"{_plain(check.goal)}{unit}"
            value = "" if check.value is None else f"{_plain(check.value)}{unit}"
            table.add_row(marks[check.passed], check.name, value, goal, check.detail)
        console.print(table)
        console.print(f"{self.seconds:.0f} s, peak memory {self.peak_memory_gib:.1f} GiB")
        console.print(f"{self.passed} passed, {self.failed} failed", highlight=False)


def latency(name: str, samples_ms: list[float], goals: dict[str, float], detail: str = "") -> Check:
    """A check of latencies in milliseconds against goals such as ``{"p50": 400, "p99": 1000}``.

    It fails where there is no sample, or a percentile lies beyond ten times its goal.
    """
    if not samples_ms:
        return Check(name, False, None, "ms", goals, f"no sample; {detail}".strip("; "))
    value = {key: round(percentile(samples_ms, float(key[1:])), 1) for key in sorted({"p50", "p99", *goals})}
    met = all(value[key] <= goal for key, goal in goals.items())
    within = all(value[key] <= goal * LATENCY_TOLERANCE for key, goal in goals.items())
    verdict = "goal met" if met else "goal missed" if within else "beyond ten times the goal"
    return Check(name, within, value, "ms", goals, "; ".join(part for part in (verdict, detail) if part))


def percentile(samples: list[float], q: float) -> float:
    """The ``q``-th percentile by the nearest-rank rule."""
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * q // 100))
    return ordered[int(rank) - 1]


def _plain(value: Any) -> str:
    return (
        ", ".join(_pairs(value)) if isinstance(value, dict) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def _pairs(value: dict[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        yield f"{key} {_plain(item)}"
