"""Personas: a card per segment, as a table of JSON and as a report for people.

The cards are made from what the members did in the days before the cut; words can be overridden by a file with
provenance (common/personas.py). The report is one HTML file that loads nothing from elsewhere.
"""

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.events import UNKNOWN_CATEGORY
from common.contracts.profiles import PERSONAS
from common.errors import ConfigError
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.personas import OTHER, Basket, Override, Persona, card, overridden, read_overrides, to_json
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before, members_before
from jobs.spark.cuts import of_this_cut
from jobs.spark.increment import days_between, on_days
from jobs.spark.persona_report import Flow, Lift, page
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

VALUES_KEPT = 50
"""Values of a dimension that are kept per segment, the largest; the rest counts as OTHER."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Make the personas of a cut's segments."""

    days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Days before the cut whose events the cards are made from."""

    overrides: str = ""
    """YAML file of overrides with provenance; empty for none."""

    report: str = ""
    """HTML file to write; empty for reports/personas.html under the lake, none for no report."""


def dimensions(events: DataFrame) -> DataFrame:
    """segment_id, dimension, value, total: what members did, by category (weighed), hour, weekday, device, channel."""

    def one(name: str, value: Column, amount: Column) -> Column:
        return f.struct(f.lit(name).alias("dimension"), value.alias("value"), amount.cast("long").alias("amount"))

    at, once = f.timestamp_millis("event_ms"), f.lit(1)
    told = f.array(
        one("category", f.nullif("category", f.lit(UNKNOWN_CATEGORY)), f.expr(event.weight.spark())),
        one("hour", f.hour(at).cast("string"), once),
        one("weekday", f.weekday(at).cast("string"), once),
        one("device", f.coalesce("device", f.lit("unknown")), once),
        one("channel", f.coalesce("referrer", f.lit("direct")), once),
    )
    counted = (
        events.select("segment_id", f.explode(told).alias("t"))
        .where("t.value IS NOT NULL")
        .groupBy("segment_id", "t.dimension", "t.value")
        .agg(f.sum("t.amount").alias("total"))
    )
    largest = Window.partitionBy("segment_id", "dimension").orderBy(f.col("total").desc(), "value")
    kept = f.when(f.row_number().over(largest) <= VALUES_KEPT, f.col("value")).otherwise(f.lit(OTHER))
    return (
        counted.withColumn("value", kept).groupBy("segment_id", "dimension", "value").agg(f.sum("total").alias("total"))
    )


def baskets(events: DataFrame) -> DataFrame:
    """Per segment: members who ordered, orders, money, units, and the days that nine of ten gaps stay within."""
    spent = (f.col("price") * f.col("quantity").cast("decimal(10,0)")).cast("decimal(38,4)")
    orders = (
        events.where(f.col("event_type") == "purchase")
        .groupBy("segment_id", "visitor_id", "order_id")
        .agg(f.sum(spent).alias("money"), f.sum("quantity").alias("units"), f.min("event_ms").alias("at_ms"))
    )
    before = f.lag("at_ms").over(Window.partitionBy("visitor_id").orderBy("at_ms", "order_id"))
    # Whole days: few distinct values, so that the exact percentile is cheap.
    gap = f.ceil((f.col("at_ms") - before) / DAY_MS)
    return (
        orders.withColumn("gap", gap)
        .groupBy("segment_id")
        .agg(
            f.count_distinct("visitor_id").alias("buyers"),
            f.count("*").alias("orders"),
            f.sum("money").alias("money"),
            f.sum("units").alias("units"),
            f.percentile("gap", f.lit(0.9)).alias("gap_days"),
        )
    )


def cards(lake: Lake, args: Args, overrides: list[Override]) -> list[Persona]:
    """The cards of the cut's segments, the largest first."""
    members = of_this_cut(lake, "gold/segments", args.cut).select("visitor_id", "segment_id")
    since = args.cut - args.days * DAY_MS
    events = events_before(lake, args.cut).where(f.col("event_ms") >= since).join(members, "visitor_id", how="inner")
    columns = ["segment_id", "visitor_id", "event_type", "event_ms", "category", "device", "referrer"]
    events = events.select(*columns, "order_id", "price", "quantity").persist()
    try:
        counted: dict[int, dict[str, dict[str, float]]] = {}
        shop: dict[str, dict[str, float]] = {}
        for row in dimensions(events).collect():
            of_segment = counted.setdefault(row["segment_id"], {}).setdefault(row["dimension"], {})
            of_segment[row["value"]] = float(row["total"])
            of_shop = shop.setdefault(row["dimension"], {})
            of_shop[row["value"]] = of_shop.get(row["value"], 0.0) + float(row["total"])
        bought = {row["segment_id"]: row for row in baskets(events).collect()}
    finally:
        events.unpersist()
    segments = [row.asDict() | json.loads(row["centroid"]) for row in lake.read("gold/centroids").collect()]
    visitors = sum(row["size"] for row in segments)
    made = []
    for row in sorted(segments, key=lambda r: (-r["size"], r["segment_id"])):
        has = bought.get(row["segment_id"])
        basket = Basket(orders_each=0.0, value=0.0, units=0.0)
        if has is not None:
            basket = Basket(
                orders_each=round(has["orders"] / row["size"], 2),
                value=round(float(has["money"]) / has["orders"], 2),
                units=round(has["units"] / has["orders"], 2),
            )
        figures = counted.get(row["segment_id"], {})
        gap_days = has["gap_days"] if has is not None else None
        found = card(row, visitors=visitors, counts=figures, shop=shop, basket=basket, gap_days=gap_days)
        made.append(overridden(found, overrides))
    return made


def lifts(members: DataFrame, since: DataFrame, cut_ms: int, since_ms: int) -> DataFrame:
    """Rows of gold/segment_lift.

    ``members`` has visitor_id, segment_id and segment as of ``since_ms``; ``since`` the events from then to the cut.
    """
    spent = (f.col("price") * f.col("quantity").cast("decimal(10,0)")).cast("decimal(38,4)")
    bought = f.col("event_type") == "purchase"
    did = since.groupBy("visitor_id").agg(f.max(bought).alias("bought"), f.sum(f.when(bought, spent)).alias("spent"))
    told = (
        members.join(did, "visitor_id", how="left")
        .groupBy("segment_id", "segment")
        .agg(
            f.count("*").alias("members"),
            f.count("bought").alias("active"),
            f.count_if("bought").alias("buyers"),
            f.coalesce(f.sum("spent"), f.lit(0)).cast("decimal(38,4)").alias("spend"),
        )
    )
    everyone = Window.partitionBy()

    def lift(count: str) -> Column:
        whole = f.sum(count).over(everyone) / f.sum("members").over(everyone)
        return f.when(whole > 0, f.col(count) / f.col("members") / whole)

    cuts = {"cut_ms": f.lit(cut_ms).cast("long"), "since_ms": f.lit(since_ms).cast("long")}
    return told.withColumns({**cuts, "activity_lift": lift("active"), "order_lift": lift("buyers")})


def write_lifts(lake: Lake, cut_ms: int) -> list[Lift]:
    """Judge the segments of the cut before by what their members did since; returns what the report tells."""
    cuts = lake.read_or_empty("gold/segment_history").where(f.col("cut_ms") < cut_ms)
    newest = cuts.agg(f.max("cut_ms")).first()
    if newest is None or newest[0] is None:
        return []
    since_ms = int(newest[0])
    was = members_before(lake, cut_ms)
    members = was.select("visitor_id", f.col("from_id").alias("segment_id"), f.col("from_segment").alias("segment"))
    days = on_days(events_before(lake, cut_ms), days_between(since_ms, cut_ms))
    made = lifts(members, days.where(f.col("event_ms") >= since_ms), cut_ms, since_ms)
    lake.replace("gold/segment_lift", made.coalesce(1), f"cut_ms = {cut_ms}")
    rows = lake.read("gold/segment_lift").where(f.col("cut_ms") == cut_ms).collect()
    found = [
        Lift(r["segment"], r["members"], r["active"], r["buyers"], r["activity_lift"], r["order_lift"]) for r in rows
    ]
    return sorted(found, key=lambda row: (-(row.activity_lift or 0.0), row.segment))


def flows(lake: Lake, cut_ms: int) -> list[Flow]:
    """How many visitors moved between which segments at the cut."""
    moved = lake.read("gold/segment_moves").where(f.col("cut_ms") == cut_ms)
    return [Flow(*row) for row in moved.groupBy("from_segment", "to_segment").count().collect()]


def report_path(args: Args) -> Path | None:
    """Where the report goes, None for nowhere; raises ConfigError where the lake is no mounted path."""
    if args.report == "none":
        return None
    if args.report:
        return Path(args.report)
    where = urlparse(args.lake)
    if where.scheme not in ("", "file"):
        raise ConfigError(f"the report is a file, and the lake is {where.scheme}://: give --report as a path, or none")
    return Path(where.path) / "reports" / "personas.html"


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Make the cards, override them, write table and report."""
    path = report_path(args)
    overrides = read_overrides(Path(args.overrides)) if args.overrides else []
    lake = Lake(spark, args.lake)
    made = cards(lake, args, overrides)
    rows = [(p.segment_id, args.cut, p.segment, p.size, to_json(p)) for p in made]
    lake.replace("gold/personas", spark.createDataFrame(rows, struct_type(PERSONAS)))
    judged = write_lifts(lake, args.cut)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(page(made, flows(lake, args.cut), judged, args.cut, args.days), encoding="utf-8")
        fresh.replace(path)
    unused = [o for o in overrides if not any(o.segment in (p.segment_id, p.segment) for p in made)]
    return {
        "personas": len(made),
        "overridden": sum(bool(p.overrides) for p in made),
        "overrides_without_segment": len(unused),
        "segments_judged": len(judged),
        "report": str(path or "none"),
    }


if __name__ == "__main__":
    run(main, Args)
