"""What every benchmark shares: repetitions beside a comparator, and the one JSON line that says how they stand."""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "build" / "bench"


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds that the call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def side_by_side(
    contenders: Mapping[str, Callable[[], object]], repetitions: int = 3, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each contender, turn by turn, so that what the machine does meanwhile meets all of them.

    The warm-up round is run and not counted. Returns a list of ``repetitions`` seconds for each name.
    """
    raw: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repetitions + warm_up):
        for name, work in contenders.items():
            took = seconds(work)
            say(f"{name} {'warm-up' if warm_up and turn == 0 else turn + (not warm_up)}: {took:.2f} s")
            if turn >= warm_up:
                raw[name].append(took)
    return raw


def median(values: Sequence[float]) -> float:
    """The median of the repetitions."""
    return statistics.median(values)


def say(text: str) -> None:
    """Progress, on stderr: the last line of stdout is the result."""
    print(text, file=sys.stderr, flush=True)


def report(
    name: str,
    value: float | None,
    unit: str,
    better: Literal["higher", "lower"],
    comparator: str,
    protocol: str,
    **more: Any,
) -> dict[str, Any]:
    """Print the result as one JSON line and write it to ``build/bench/<name>.json``.

    ``value`` is the headline, ``more`` the raw figures behind it (seconds of each repetition, counts, versions).
    """
    result = {
        "name": name,
        "value": value,
        "unit": unit,
        "better": better,
        "comparator": comparator,
        "protocol": protocol,
        "machine": platform.machine(),
        **more,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    line = json.dumps(result)
    (RESULTS / f"{name}.json").write_text(line + "\n", encoding="utf-8")
    print(line, flush=True)
    return result
