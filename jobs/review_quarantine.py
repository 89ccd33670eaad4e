"""Review of the quarantine: a data steward's decision about quarantined events, kept with name, time and reason.

To discard events is to say that they were looked at and are not to be counted: they stay in quarantine, are no longer
told as open, and no replay tries them. To reopen them takes that back. Events that come later are open, whatever rule
they break. What a killed replay left in quarantine, though it counts already, is taken out first: nobody decides about
that any more.
"""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from common.errors import ConfigError
from jobs.spark.args import ARGUMENTS, LakeArgs, Names
from jobs.spark.reviews import DISCARDED, OPEN, by_rule, chosen, finish_replay, open_by_day, review, reviewed
from jobs.spark.run import alone, run, this_run
from jobs.spark.tables import Lake


def _day(text: str) -> str:
    if text:
        date.fromisoformat(text)
    return text


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Decide about quarantined events."""

    decision: Literal["discard", "reopen"]
    """discard what is open, or reopen what was discarded."""

    rules: Annotated[Names, Field(min_length=1)]
    """The rules whose events are decided about, separated by commas."""

    by: Annotated[str, Field(min_length=1, max_length=80)]
    """Who decides."""

    why: Annotated[str, Field(min_length=1, max_length=600)]
    """The reason, for those who come later. No personal data: it is kept."""

    topic: str = ""
    """Only records of this topic, such as events or import:shop; empty for all."""

    day: Annotated[str, AfterValidator(_day)] = ""
    """Only events of this UTC day, such as 2026-11-18; empty for all."""


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Write the decision down; how many events it is about, and how many are open then, by rule.

    ``finished`` is how many events a killed replay had moved but not taken out. Raises ConfigError for a rule that no
    quarantined event broke, ConcurrentRun where ``cleanse`` or a replay is at work.
    """
    lake = Lake(spark, args.lake)
    # A replay moves the events that are decided about here.
    with alone(args.lake, "replay_quarantine"), alone(args.lake, "cleanse"):
        finished = finish_replay(lake, this_run())
        events = reviewed(lake)
        filed = {row["rule"] for row in events.select("rule").distinct().collect()}
        if unknown := sorted(set(args.rules) - filed):
            raise ConfigError(
                f"--rules: nothing in quarantine broke {', '.join(unknown)}; there are {', '.join(sorted(filed))}"
            )
        was, state = (OPEN, DISCARDED) if args.decision == "discard" else (DISCARDED, OPEN)
        rows = chosen(events, was, args.rules, args.topic)
        if args.day:
            rows = rows.where(f.col("event_date") == date.fromisoformat(args.day))
        decided = review(lake, rows, state, this_run(), args.by, args.why)
        return {"finished": finished, "decided": decided, "open": by_rule(open_by_day(lake))}


if __name__ == "__main__":
    run(main, Args)
