"""Publish: one row a visitor with everything serving needs, into tables of a new version; then the pointer flips.

A version is claimed, filled, counted, and only then made live by one conditional update; a load that fails leaves the
last good version live. Two versions stay behind the live one, older ones are dropped.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from common.contracts.catalogue import ITEM_VIEW
from common.contracts.profiles import PROFILE, SEGMENT_VIEW
from common.embedding import HISTORY, ItemFactors, last_items, load_model, pack_history, pack_recommendations
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import BatchTiles, Tile, pack
from common.features.windows import DAY_MS
from jobs.features import at_cut
from jobs.spark.age import age_bands
from jobs.spark.args import ARGUMENTS, CassandraArgs, JobArgs, cluster_spec
from jobs.spark.before import events_before
from jobs.spark.cuts import of_this_cut, require_cut
from jobs.spark.interactions import item_events
from jobs.spark.models import model_of_lists
from jobs.spark.run import run
from jobs.spark.schema import conform, struct_type
from jobs.spark.tables import Lake
from views.connect import ClusterSpec, connected, ensure_keyspace, worker_session
from views.mutations import Upsert
from views.schema import Table
from views.versions import BatchVersions
from views.writer import ViewWriter

OF_VISITORS: tuple[FeatureGroup, ...] = tuple(g for g in GROUPS.values() if g.key == "visitor_id")
"""The groups whose tiles a profile carries."""

SPANS = {"ever": 0, "day": 1, "hour": 2}
SEGMENT_TOP = 100
FOLLOWERS = 50
"""Items turned to next that are published of an item's days before the horizon: a read is of one partition."""

WRITE_ROWS = 1_024


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs, CassandraArgs):
    """Publish the batch views of a cut as a new version."""

    replication_factor: Annotated[int, Field(ge=1, le=9)] = 1
    """Copies of each row, where the keyspace is not there yet."""

    segment_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """Days before the cut whose events make a segment's own list."""


# Profile rows


def tile_lists(tiles: DataFrame, group: FeatureGroup) -> DataFrame:
    """visitor_id and the list of its tiles of the group, named as the group."""
    dim = f.col("dim") if group.by else f.lit("")
    tile = f.struct("span", "tile_start", dim.alias("dim"), *group.columns)
    return tiles.groupBy("visitor_id").agg(f.collect_list(tile).alias(group.name))


def last_events(weighed: DataFrame) -> DataFrame:
    """visitor_id, its last item events, and the items it ever bought."""
    newest = Window.partitionBy("visitor_id").orderBy(f.col("event_ms").desc(), f.col("event_id").desc())
    entry = f.struct("item_id", "weight", "event_ms", "event_id")
    ranked = weighed.withColumn("_rank", f.row_number().over(newest))
    return ranked.groupBy("visitor_id").agg(
        f.collect_list(f.when(f.col("_rank") <= HISTORY, entry)).alias("history"),
        f.collect_set(f.when(f.col("event_type") == "purchase", f.col("item_id"))).alias("bought"),
    )


def profiles(
    tiles: dict[str, DataFrame],
    weighed: DataFrame,
    rfm: DataFrame,
    segments: DataFrame,
    sessions: DataFrame,
    bands: DataFrame,
    recommendations: DataFrame,
    model: Broadcast[ItemFactors],
    cut_ms: int,
) -> DataFrame:
    """Rows of the profile view: every visitor with an event before the cut."""
    joined = tile_lists(tiles["activity"], GROUPS["activity"])
    for group in OF_VISITORS:
        if group.name != "activity":
            joined = joined.join(tile_lists(tiles[group.name], group), "visitor_id", how="left")
    scores = f.concat(*(f.col(f"{m}_score").cast("string") for m in "rfm"))
    joined = (
        joined.join(last_events(weighed), "visitor_id", how="left")
        .join(
            rfm.select("visitor_id", "recency_days", "frequency", "monetary", scores.alias("rfm")),
            "visitor_id",
            how="left",
        )
        .join(segments.select("visitor_id", "segment_id", "segment"), "visitor_id", how="left")
        .join(sessions.groupBy("visitor_id").agg(f.count("*").alias("sessions")), "visitor_id", how="left")
        .join(bands, "visitor_id", how="left")
        .join(recommendations.select("visitor_id", "recommendations"), "visitor_id", how="left")
    )
    return packed(joined, model, cut_ms)


def packed(joined: DataFrame, model: Broadcast[ItemFactors], cut_ms: int) -> DataFrame:
    """Pack tiles, history and purchases into the profile's blobs."""
    schema = to_arrow_schema(struct_type(PROFILE))
    of_rfm = ("recency_days", "frequency", "monetary", "rfm")
    plain = ("visitor_id", *of_rfm, "segment_id", "segment", "age_band", "recommendations")

    def pack_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            rows = batch.num_rows
            by_group = {g: batch.column(g.name).to_pylist() for g in OF_VISITORS}
            features = [
                pack({g.name: batch_tiles(g, lists[i] or ()) for g, lists in by_group.items()}) for i in range(rows)
            ]
            history, bought = batch.column("history").to_pylist(), batch.column("bought").to_pylist()
            made: dict[str, Any] = {name: batch.column(name) for name in plain}
            made["cut_ms"] = [cut_ms] * rows
            made["features"] = features
            made["sessions"] = [n or 0 for n in batch.column("sessions").to_pylist()]
            made["last_items"] = [
                pack_history(last_items(tuple(e.values()) for e in x)) if x else None for x in history
            ]
            made["purchased"] = [_pack_items(items, x) if x else None for x in bought]
            made["model_version"] = [items.model_version] * rows
            columns = [c if isinstance(c, pa.Array) else pa.array(c, schema.field(n).type) for n, c in made.items()]
            found = dict(zip(made, columns, strict=True))
            yield pa.RecordBatch.from_arrays([found[name] for name in schema.names], schema=schema)

    return joined.mapInArrow(pack_rows, struct_type(PROFILE))


def _pack_items(model: ItemFactors, item_ids: list[str]) -> bytes:
    indexes = sorted(int(i) for i in model.indexes(item_ids) if i >= 0)
    return pack_recommendations(indexes, [0.0] * len(indexes))


def batch_tiles(group: FeatureGroup, rows: Iterable[dict[str, Any]]) -> BatchTiles:
    """The tiles of one visitor and group from rows of :func:`jobs.features.at_cut`, in their order."""
    spans: tuple[list[Tile], list[Tile], list[Tile]] = ([], [], [])
    for row in rows:
        values = tuple(row[name] for name in group.aggregates)
        spans[SPANS[row["span"]]].append(Tile(row["tile_start"], row["dim"], row["n"], values))
    return BatchTiles(*(tuple(sorted(span, key=lambda t: (t.start, t.dim))) for span in spans))


# The other views


def popularity(tiles: DataFrame) -> DataFrame:
    """Rows of the popularity view: tiles since the horizon and one at EVER for all before."""
    return conform(tiles.where(f.col("span") != "day"), GROUPS["popularity"].contract(), "gold/tiles_popularity")


def covisits(tiles: DataFrame) -> DataFrame:
    """Rows of the covisits view: tiles since the horizon, and at EVER the :data:`FOLLOWERS` strongest of each item."""
    strongest = Window.partitionBy("span", "previous_item_id").orderBy(f.col("mass").desc(), "dim")
    ever = tiles.where("span = 'ever' AND mass > 0").withColumn("_place", f.row_number().over(strongest))
    kept = ever.where(f.col("_place") <= FOLLOWERS).drop("_place").unionByName(tiles.where("span = 'hour'"))
    return conform(kept, GROUPS["covisits"].contract(), "gold/tiles_covisits")


def segment_lists(
    weighed: DataFrame, segments: DataFrame, centroids: DataFrame, model: ItemFactors, since_ms: int
) -> DataFrame:
    """Rows of the segments view: each segment with the items its members favoured since an instant, by weight."""
    members = segments.select("visitor_id", "segment_id")
    liked = (
        weighed.where(f.col("event_ms") >= since_ms)
        .join(members, "visitor_id", how="inner")
        .groupBy("segment_id", "item_id")
        .agg(f.sum("weight").alias("weight"))
    )
    best = Window.partitionBy("segment_id").orderBy(f.col("weight").desc(), "item_id")
    top = liked.withColumn("_rank", f.row_number().over(best)).where(f.col("_rank") <= SEGMENT_TOP)
    by_segment: dict[int, list[tuple[int, float]]] = {}
    for row in top.orderBy("segment_id", "_rank").collect():
        index = model.index.get(row["item_id"])
        if index is not None:
            by_segment.setdefault(row["segment_id"], []).append((index, float(row["weight"])))
    rows = []
    for row in centroids.collect():
        ranked = by_segment.get(row["segment_id"], [])
        most = max((w for _, w in ranked), default=1.0)
        blob = pack_recommendations([i for i, _ in ranked], [w / most for _, w in ranked]) if ranked else None
        rows.append((row["segment_id"], row["segment"], row["size"], row["centroid"], blob, model.model_version))
    return centroids.sparkSession.createDataFrame(rows, struct_type(SEGMENT_VIEW))


# Writing


def store(frame: DataFrame, table: Table, spec: ClusterSpec, timestamp: int) -> int:
    """Write a frame's rows into a view's table from Spark's workers; returns how many."""
    names = table.view.columns

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        writer, rows = ViewWriter(worker_session(spec)), 0
        for whole in batches:
            for start in range(0, whole.num_rows, WRITE_ROWS):
                batch = whole.slice(start, WRITE_ROWS)
                columns = [batch.column(name).to_pylist() for name in names]
                writer.write(Upsert(table, values, timestamp) for values in zip(*columns, strict=True))
                rows += batch.num_rows
        yield pa.RecordBatch.from_arrays([pa.array([rows], pa.int64())], names=["rows"])

    total = frame.select(*names).mapInArrow(write, "rows long").agg(f.sum("rows")).first()
    return int(total[0] or 0) if total is not None else 0


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Fill a new version, check it, make it live, drop old ones."""
    lake = Lake(spark, args.lake)
    spec = cluster_spec(args)
    for table in ("gold/sessions", *(f"gold/{g.table}" for g in GROUPS.values())):
        require_cut(lake, table, args.cut)
    folder, manifest = model_of_lists(args.lake, lake.read("gold/recommendations"), lake.read("gold/items"))
    model = load_model(folder)
    shared = spark.sparkContext.broadcast(model)
    weighed = item_events(events_before(lake, args.cut), args.cut)
    segments = of_this_cut(lake, "gold/segments", args.cut)
    tiles = {g.name: at_cut(lake.read(f"gold/{g.table}"), g, args.cut) for g in GROUPS.values()}
    frames = {
        "profile": profiles(
            tiles,
            weighed,
            of_this_cut(lake, "gold/rfm", args.cut),
            segments,
            lake.read("gold/sessions"),
            age_bands(lake, args.cut),
            of_this_cut(lake, "gold/recommendations", args.cut),
            shared,
            args.cut,
        ),
        "items": conform(lake.read("gold/items"), ITEM_VIEW, "gold/items"),
        "popularity": popularity(tiles["popularity"]),
        "covisits": covisits(tiles["covisits"]),
        "segments": segment_lists(
            weighed, segments, lake.read("gold/centroids"), model, args.cut - args.segment_days * DAY_MS
        ),
    }
    ensure_keyspace(spec, args.replication_factor)
    try:
        with connected(spec) as session:
            versions = BatchVersions(session)
            before = versions.live()
            version = versions.claim(args.cut)
            # Any instant serves, since no row of a version is written twice; the cut is the same in every run.
            at_us = args.cut * 1_000
            written = {name: store(frame, version.tables[name], spec, at_us) for name, frame in frames.items()}
            versions.check(version, written)
            versions.flip(version, manifest.model_version, str(folder), before)
            dropped = versions.drop_old()
    finally:
        shared.unpersist()
    return {"version": version.name, "model_version": manifest.model_version, "rows": written, "dropped": dropped}


if __name__ == "__main__":
    run(main, Args)
