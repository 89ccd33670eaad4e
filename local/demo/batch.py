"""The batch layer in the demo: imports, the nightly chain and parity in one Spark session, on the demo's lake."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from pyspark.sql import functions as f

from common.errors import IncompleteInput
from jobs import chain, import_events, land, parity
from jobs.spark.before import events_before
from jobs.spark.run import execute
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.demo.plan import Plan
from local.demo.screen import Screen
from local.jars import fetch

LAND_LIMIT_S = 90.0
MEMORY = "1600m"


class Batch:
    """Runs jobs in one session; ``counts`` keeps what each returned last."""

    def __init__(self, lake: Path, log: Path, screen: Screen, arguments: dict[str, Any]) -> None:
        self.lake = lake
        self.screen = screen
        self.arguments = {"lake": str(lake), **arguments}
        self.counts: dict[str, dict[str, Any]] = {}
        # Spark's workers run `python3` from PATH unless they are told.
        os.environ.update(PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable)
        self.spark = local_session("dovetail-demo", fetch("delta"), memory=MEMORY, log=log)

    def stop(self) -> None:
        """End the session and its JVM."""
        self.spark.stop()

    def run(self, job: ModuleType, **given: Any) -> dict[str, Any]:
        """Run one job with the demo's arguments and those given; returns what it counted."""
        name = job.__name__.rpartition(".")[2]
        known = {x.name for x in fields(job.Args)}
        arguments = {k: v for k, v in self.arguments.items() if k in known} | given
        with self.screen.step(name):
            result = execute(self.spark, job.main, job.Args(**arguments))
        self.counts[name] = json.loads(result.counts)
        return self.counts[name]

    def import_history(self, plan: Plan, live: Path) -> dict[str, Any]:
        """Import the history before the first cut; what comes after it goes to the file ``live``."""
        return self.run(
            import_events,
            format=plan.format,
            path=str(plan.path),
            dataset=plan.dataset,
            shift_days=plan.shift_days,
            until=plan.history_cut_ms,
            export=str(live),
        )

    def land(self, cut_ms: int, retry: Callable[[str], None]) -> dict[str, Any]:
        """Land the archive; a cut that is not complete yet is tried again while checkpoints come."""
        begun = self.screen.seconds
        while True:
            try:
                return self.run(land, cut=cut_ms)
            except IncompleteInput as error:
                if self.screen.seconds - begun > LAND_LIMIT_S:
                    raise
                retry(str(error))

    def chain(self, cut_ms: int, catalogue: Path | None) -> None:
        """Run the nightly chain for a cut, from cleanse to publish; landing and parity are runs of their own here.

        The gate is left out: the self-check judges what it would, and it takes a fifth of so short a chain.
        """
        summary = self.run(chain, cut=cut_ms, catalogue=str(catalogue or ""), skip="land,check,parity")
        self.counts.update(summary)

    def parity(self, cut_ms: int, generation: str) -> dict[str, Any]:
        """Compare the layers, whatever comes out: the self-check judges."""
        return self.run(parity, cut=cut_ms, generation=generation, threshold=1.0)

    def rows(self, table: str) -> int:
        """Rows of a lake table; 0 where it has not been made."""
        return Lake(self.spark, str(self.lake)).read_or_empty(table).count()

    def purchases(self, cut_ms: int) -> pd.DataFrame:
        """Silver's purchases before the cut, for an oracle in pandas."""
        events = events_before(Lake(self.spark, str(self.lake)), cut_ms)
        frame: pd.DataFrame = (
            events.where(events.event_type == "purchase")
            .select("visitor_id", "item_id", "order_id", "event_ms", "price", "quantity")
            .toPandas()
        )
        return frame

    def rfm(self) -> pd.DataFrame:
        """gold/rfm."""
        frame: pd.DataFrame = (
            Lake(self.spark, str(self.lake))
            .read("gold/rfm")
            .select("visitor_id", "recency_days", "frequency", "monetary")
        ).toPandas()
        return frame

    def items_of_visitors(self, least: int) -> set[str]:
        """Items that at least so many visitors did something with."""
        events = Lake(self.spark, str(self.lake)).read("silver/events").where("item_id IS NOT NULL")
        visitors = events.groupBy("item_id").agg(f.countDistinct("visitor_id").alias("visitors"))
        return {row["item_id"] for row in visitors.where(f.col("visitors") >= least).collect()}

    def sessions_and_truth(self, cut_ms: int) -> pd.DataFrame:
        """Silver events before the cut with the shop's own session id, where it came along."""
        events = events_before(Lake(self.spark, str(self.lake)), cut_ms)
        frame: pd.DataFrame = events.selectExpr(
            "visitor_id", "event_ms", "event_id", "properties['session_id'] AS truth"
        ).toPandas()
        return frame
