"""Resolve: which customers are one person, what that person's row says, and which pairs a human should look at.

    customers ─▶ blocks ─▶ pairs ─▶ levels of agreement ─▶ weights ─▶ matches ─▶ components ─▶ persons
                                                                │        ▲
                                                                │        └── verdicts ◀── a human
                                                                └──▶ grey zone ─▶ review queue ──▲

Nothing is learned from labels: weights come from the counts of patterns alone (common/resolution/weights.py), and only
these come to the driver. A person keeps its id from run to run: each former id goes to the component that holds most
of its customers; a component that several lay claim to takes the one that most of its customers had, and the other
ids end. What is left without an id gets a new one. So a second run changes nothing.

A verdict (silver/verdicts) outweighs what rows say: a pair judged the same is a match that is never cut, one judged
different is none, and a person that holds such a pair all the same, by way of others, is cut like a chain.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.customers import PERSONAL, PERSONS, VERDICTS
from common.errors import ConfigError, IncompleteInput
from common.resolution.comparisons import COMPARISONS, FIELDS
from common.resolution.verdicts import SAME_BITS, Verdict, last_words, read_verdicts
from common.resolution.weights import Tally, Weights, bits_of, learn
from jobs.spark.args import ARGUMENTS, LakeArgs
from jobs.spark.candidates import Bands, candidate_pairs, compared, pass_keys, random_tally
from jobs.spark.components import components
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

Chance = Annotated[float, Field(gt=0, lt=1)]

FREQUENT = ("given_name", "family_name", "birth_date")
"""Fields of a golden record that take the most frequent value, then the newest."""

ADDRESS = ("street_address", "extended_address", "locality", "postal_code", "region", "country")
"""Fields taken together from the newest customer that has an address: mixed from two, they would be nobody's."""

NEWEST = ("email_hash", "phone_hash")
"""Fields that take the newest value."""

assert {*FREQUENT, *ADDRESS, *NEWEST} == {x.name for x in PERSONAL}, "every field of a person has a rule"

ACCENTED = "àáâãäåāăąçćčďđèéêëēėęěğìíîïīįıłľñńňòóôõöøōőŕřśšşșťțùúûüūůűųýÿźżž"
PLAIN = "aaaaaaaaacccddeeeeeeeegiiiiiiillnnnoooooooorrsssstt" + "uuuuuuuuyyzzz"

CHAIN_STEPS = (10.0, 20.0, 40.0)
"""Bits added to the threshold, one after the other, where a person would have too many customers."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Find the persons behind customers."""

    match: Chance = 0.7
    """Probability from which two customers are taken for one person."""

    review: Chance = 0.1
    """Probability from which a pair that was kept apart goes to the review queue."""

    window: Annotated[int, Field(ge=2, le=10_000)] = 50
    """Neighbours in its block that a customer is compared with at most; smaller blocks are compared in full."""

    lsh_bands: Annotated[int, Field(ge=0, le=50)] = 4
    """MinHash bands over the trigrams of all fields: further blocks; 0 for none."""

    lsh_rows: Annotated[int, Field(ge=1, le=20)] = 5
    """MinHash values of a band: the more, the more alike two customers must be to share it."""

    random_pairs: Annotated[int, Field(ge=1_000, le=100_000_000)] = 500_000
    """Random pairs from which is learned how strangers agree."""

    verdicts: str = ""
    """YAML file of verdicts on pairs, kept in silver/verdicts before they are honoured; empty for those kept alone."""

    largest: Annotated[int, Field(ge=2)] = 50
    """Customers of a person beyond which a chain of matches is suspected: its weaker links are cut."""

    seed: int = 42
    """Seed of the random pairs and of MinHash."""


# Customers, comparable


def letters(column: Column) -> Column:
    """Lower case, without accents; what is neither letter nor digit is left out; null is an empty text."""
    plain = f.translate(f.lower(f.coalesce(column, f.lit(""))), ACCENTED, PLAIN)
    return f.regexp_replace(plain, r"[^\p{L}\p{N}]+", "")


def standardised(customers: DataFrame) -> DataFrame:
    """``node`` (a number), customer_id and the fields that comparisons and blocks use."""
    street = f.coalesce(f.col("street_address"), f.lit(""))
    fields = {
        "given": letters(f.col("given_name")),
        "family": letters(f.col("family_name")),
        "birth": f.regexp_replace(f.coalesce("birth_date", f.lit("")), r"\D+", ""),
        "house": f.regexp_extract(street, r"(\d+)", 1),
        "street": letters(f.regexp_replace(street, r"\d+", "")),
        "extended": letters(f.col("extended_address")),
        "locality": letters(f.col("locality")),
        "postal": letters(f.col("postal_code")),
        "email": f.coalesce("email_hash", f.lit("")),
        "phone": f.coalesce("phone_hash", f.lit("")),
    }
    # Numbers follow the files of one version of the table, so they are the same however often they are computed.
    return customers.select("customer_id", *(c.alias(x) for x, c in fields.items())).withColumn(
        "node", f.monotonically_increasing_id()
    )


def derived() -> dict[str, Column]:
    """Columns that blocks agree on beside the fields: sounds and parts; empty where their field is."""
    given, family = f.soundex("given"), f.soundex("family")
    both = f.concat(f.least(given, family), f.greatest(given, family))
    return {
        "given_sound": given,
        "family_sound": family,
        "both_sounds": f.when((given != "") & (family != ""), both).otherwise(f.lit("")),
        "birth_year": f.substring("birth", 1, 4),
        "birth_month": f.substring("birth", 1, 6),
        "birth_day": f.substring("birth", 5, 4),
        "postal_area": f.substring("postal", 1, 3),
    }


def blocked(customers: DataFrame) -> DataFrame:
    """Standardised customers with ``keys``, their blocks, ``rank``, their place in one, and ``text`` for MinHash."""
    first_bytes = f.hex(f.substring(f.encode(f.concat("given", "birth"), "utf-8"), 1, 7))
    return customers.withColumns(derived()).select(
        "node",
        pass_keys().alias("keys"),
        f.coalesce(f.conv(first_bytes, 16, 10).cast("long"), f.lit(0)).alias("rank"),
        f.trim(f.concat_ws(" ", *FIELDS[:8])).alias("text"),
    )


# Weights


def tally(counted: DataFrame) -> Tally:
    """Counts of patterns, brought to the driver: a few thousand rows at most."""
    rows = counted.select("pattern", f.col("pairs").cast("long")).collect()
    return Tally(np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.float64))


def learned(seen: Tally, comparable: DataFrame, rows: int, args: Args) -> Weights | None:
    """The weights by the candidate pairs' tally and random pairs; None where no two customers share a block."""
    if not seen.pairs.sum():
        return None
    drawn = tally(random_tally(comparable, rows, args.random_pairs, args.seed))
    return learn(seen, drawn, rows * (rows - 1) / 2)


def weighed(pairs: DataFrame, patterns: np.ndarray, weights: Weights | None, least: float) -> DataFrame:
    """Pairs whose pattern weighs at least ``least`` bits, with ``weight``; none without weights."""
    bits = weights.of(patterns) if weights is not None else np.full(len(patterns), -np.inf)
    rows = [(int(p), float(b)) for p, b in zip(patterns, bits, strict=True) if b >= least]
    table = pairs.sparkSession.createDataFrame(rows, "pattern long, weight double")
    return pairs.join(f.broadcast(table), "pattern", how="inner")


# Persons


def grouped(matches: DataFrame, largest: int, threshold: float, apart: DataFrame) -> tuple[DataFrame, int]:
    """``node`` and ``component`` of customers with a match, and how many chains were cut.

    Where a component has more than ``largest`` customers, or holds both ends of a pair in ``apart`` (``left``,
    ``right``), only its stronger matches count: :data:`CHAIN_STEPS`.
    """
    stars, cut = components(matches.where(f.col("weight") >= threshold)), 0
    for step in CHAIN_STEPS:
        long = stars.groupBy("component").count().where(f.col("count") > largest).select("component")
        long = long.union(together(apart, stars).select("component")).distinct()
        chains = long.count()
        if not chains:
            break
        cut = cut or chains
        inside = stars.join(long, "component", how="left_semi").select(f.col("node").alias("left"))
        strong = matches.where(f.col("weight") >= threshold + step).join(inside, "left", how="left_semi")
        stars = (
            stars.join(long, "component", how="left_anti").select("node", "component").unionByName(components(strong))
        )
    return stars, cut


def together(apart: DataFrame, stars: DataFrame) -> DataFrame:
    """The pairs in ``apart`` whose ends have one ``component``."""
    left = stars.select(f.col("node").alias("left"), "component")
    right = stars.select(f.col("node").alias("right"), "component")
    return apart.join(left, "left", how="inner").join(right, ["right", "component"], how="inner")


def strongest(matches: DataFrame) -> DataFrame:
    """``node`` and the ``weight`` of its strongest match."""
    sides = [matches.select(f.col(side).alias("node"), "weight") for side in ("left", "right")]
    return sides[0].unionByName(sides[1]).groupBy("node").agg(f.max("weight").alias("weight"))


def identified(members: DataFrame, former: DataFrame | None, version: int | None) -> DataFrame:
    """The members with their ``person_id`` and how many ``customers`` that person is.

    ``members`` has customer_id and ``component``; ``former`` the customer_id and person_id of the last run, its table
    at ``version``. New ids are made of a customer and that version, so none is made twice.
    """
    together = Window.partitionBy("component")
    origin = f.concat_ws(" ", f.min("customer_id").over(together), f.lit("" if version is None else str(version)))
    made = f.concat(f.lit("p_"), f.left(f.sha2(origin, 256), f.lit(32)))
    members = members.withColumns({"person_id": made, "customers": f.count("*").over(together).cast("int")})
    if former is None:
        return members
    claims = (
        members.select("customer_id", "component")
        .join(former, "customer_id", how="inner")
        .groupBy("component", "person_id")
        .agg(f.count("*").alias("had"), f.min("customer_id").alias("first"))
    )
    most = f.row_number().over(Window.partitionBy("person_id").orderBy(f.desc("had"), "first"))
    claims = claims.withColumn("_most", most).where("_most = 1")
    best = f.row_number().over(Window.partitionBy("component").orderBy(f.desc("had"), "person_id"))
    kept = claims.withColumn("_best", best).where("_best = 1").select("component", f.col("person_id").alias("_kept"))
    named = members.join(kept, "component", how="left")
    return named.withColumn("person_id", f.coalesce("_kept", "person_id")).drop("_kept")


def golden(customers: DataFrame) -> DataFrame:
    """Rows of gold/persons, by the rule of each field, from customers with ``person_id`` and how many ``customers``."""
    alone = customers.where("customers = 1").select(*PERSONS.names)
    shared = customers.where("customers > 1")
    order = f.struct("updated_ms", "customer_id")
    address = f.struct(*ADDRESS)
    has_address = f.coalesce("street_address", "postal_code", "locality").isNotNull()
    newest = shared.groupBy("person_id").agg(
        f.max("customers").alias("customers"),
        f.max("updated_ms").alias("updated_ms"),
        f.max_by(address, f.when(has_address, order)).alias("_address"),
        *(f.max_by(x, f.when(f.col(x).isNotNull(), order)).alias(x) for x in NEWEST),
    )
    said = shared.select(
        "person_id",
        "updated_ms",
        f.inline(f.array(*(f.struct(f.lit(x).alias("field"), f.col(x).alias("value")) for x in FREQUENT))),
    ).where(f.col("value").isNotNull())
    times = said.groupBy("person_id", "field", "value").agg(
        f.count("*").alias("times"), f.max("updated_ms").alias("last")
    )
    rank = f.struct("times", "last", "value")
    frequent = times.groupBy("person_id").agg(
        *(f.max_by("value", f.when(f.col("field") == x, rank)).alias(x) for x in FREQUENT)
    )
    made = newest.join(frequent, "person_id", how="left").select("*", "_address.*")
    return alone.unionByName(made.select(*PERSONS.names))


def in_question(pairs: DataFrame, links: DataFrame) -> DataFrame:
    """Rows of gold/review_queue: weighed pairs whose customers are not the same person.

    ``links`` has ``node``, customer_id and person_id.
    """
    for side in ("left", "right"):
        named = links.select(
            f.col("node").alias(side), f.col("customer_id").alias(f"{side}_id"), f.col("person_id").alias(f"{side}_is")
        )
        pairs = pairs.join(named, side, how="inner")
    apart = pairs.where("left_is <> right_is")
    swap = f.col("left_id") > f.col("right_id")
    ends = {"customer_id": "id", "person_id": "is"}
    first = {name: f.when(swap, f.col(f"right_{x}")).otherwise(f.col(f"left_{x}")) for name, x in ends.items()}
    other = {name: f.when(swap, f.col(f"left_{x}")).otherwise(f.col(f"right_{x}")) for name, x in ends.items()}
    return apart.select(
        first["customer_id"].alias("customer_id"),
        other["customer_id"].alias("other_id"),
        first["person_id"].alias("person_id"),
        other["person_id"].alias("other_person_id"),
        "weight",
        (1 / (1 + f.pow(f.lit(2.0), -f.col("weight")))).alias("probability"),
        levels_by_name().alias("levels"),
    )


def levels_by_name() -> Column:
    """A pattern's levels as a map from comparison to level."""
    cells, radix = [], 1
    for each in COMPARISONS:
        digit = f.expr(f"cast((pattern div {radix}) % {len(each.levels)} + 1 as int)")
        cells += [f.lit(each.name), f.element_at(f.array(*(f.lit(x) for x in each.levels)), digit)]
        radix *= len(each.levels)
    return f.create_map(*cells)


# Verdicts


def given(lake: Lake, verdicts: list[Verdict]) -> DataFrame | None:
    """Every verdict there is, after those in the list were kept; None where there never was one."""
    table = "silver/verdicts"
    if verdicts:
        rows = lake.spark.createDataFrame([Row(**row) for row in last_words(verdicts)], struct_type(VERDICTS))
        # The same file again is no change.
        newer = "s.judged_ms > t.judged_ms OR (s.judged_ms = t.judged_ms AND s.verdict <> t.verdict)"
        lake.upsert(table, rows, replace_if=newer)
    return lake.read(table) if lake.exists(table) else None


def judged(verdicts: DataFrame | None, nodes: DataFrame) -> DataFrame:
    """The verdicts on customers that are there, as ``left`` < ``right`` and ``verdict``.

    ``nodes`` has ``node`` and customer_id.
    """
    if verdicts is None:
        # No row by the plan itself, so that all that is joined to it is planned away.
        node = f.col("node")
        return nodes.select(node.alias("left"), node.alias("right"), f.lit("").alias("verdict")).limit(0)
    ends = [
        nodes.select(f.col("customer_id").alias(id_), f.col("node").alias(end))
        for id_, end in (("customer_id", "_one"), ("other_id", "_two"))
    ]
    both = f.broadcast(verdicts).join(ends[0], "customer_id", how="inner").join(ends[1], "other_id", how="inner")
    return both.select(f.least("_one", "_two").alias("left"), f.greatest("_one", "_two").alias("right"), "verdict")


def honoured(pairs: DataFrame, verdicts: DataFrame) -> DataFrame:
    """Weighed pairs as matches: those judged the same beyond doubt, those judged different left out."""
    same = verdicts.where("verdict = 'same'").select("left", "right", f.lit(SAME_BITS).alias("weight"))
    return unjudged(pairs, verdicts).select("left", "right", "weight").unionByName(same)


def unjudged(pairs: DataFrame, verdicts: DataFrame) -> DataFrame:
    """The pairs that no verdict is about."""
    return pairs.join(f.broadcast(verdicts.select("left", "right")), ["left", "right"], how="left_anti")


def last_links(lake: Lake) -> tuple[int | None, DataFrame | None]:
    """The version of gold/person_links and who was which person in it; nothing where no run has filled it yet."""
    version = lake.version("gold/person_links")
    if version is None:
        return None, None
    former = lake.read("gold/person_links", version).select("customer_id", "person_id")
    return (None, None) if former.isEmpty() else (version, former)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Block, compare, learn, match, group, name, and write the three tables."""
    if args.review > args.match:
        raise ConfigError(f"--review {args.review} is above --match {args.match}: the grey zone lies below a match")
    lake = Lake(spark, args.lake)
    customers = lake.read("silver/customers")
    said = given(lake, read_verdicts(Path(args.verdicts)) if args.verdicts else [])
    version, former = last_links(lake)
    comparable = standardised(customers).persist(StorageLevel.MEMORY_AND_DISK)
    kept = [comparable]
    try:
        rows = comparable.count()
        if not rows:
            raise IncompleteInput("silver/customers has no rows: run import_customers first")
        pairs = candidate_pairs(blocked(comparable), args.window, Bands(args.lsh_bands, args.lsh_rows, args.seed))
        pairs = compared(pairs, comparable).persist(StorageLevel.MEMORY_AND_DISK)
        kept.append(pairs)
        seen = tally(pairs.groupBy("pattern").agg(f.count("*").alias("pairs")))
        weights = learned(seen, comparable, rows, args)
        threshold = bits_of(args.match)
        edges = weighed(pairs, seen.pattern, weights, bits_of(args.review)).persist(StorageLevel.MEMORY_AND_DISK)
        kept.append(edges)
        verdicts = judged(said, comparable.select("node", "customer_id"))
        if said is not None:
            kept.append(verdicts.persist(StorageLevel.MEMORY_AND_DISK))
        words = {row["verdict"]: row["count"] for row in verdicts.groupBy("verdict").count().collect()}
        apart = verdicts.where("verdict = 'different'").select("left", "right")
        matches = honoured(edges, verdicts)
        stars, chains = grouped(matches, args.largest, threshold, apart)
        members = comparable.select("node", "customer_id").join(stars, "node", how="left")
        members = members.withColumn("component", f.coalesce("component", "node"))
        named = identified(members, former, version).persist(StorageLevel.MEMORY_AND_DISK)
        kept.append(named)
        best = strongest(matches.where(f.col("weight") >= threshold))
        links = lake.replace("gold/person_links", named.join(best, "node", how="left"))
        ids = named.select("customer_id", "person_id", "customers")
        members = customers.join(ids, "customer_id", how="inner").persist(StorageLevel.MEMORY_AND_DISK)
        kept.append(members)
        persons = lake.replace("gold/persons", golden(members))
        open_pairs = in_question(unjudged(edges, verdicts), named.select("node", "customer_id", "person_id"))
        queue = lake.replace("gold/review_queue", open_pairs)
        overruled = together(apart, named).count()
    finally:
        for frame in kept:
            frame.unpersist()
    return {
        "customers": links.inserted,
        "persons": persons.inserted,
        "pairs": int(seen.pairs.sum()),
        "expected_matches": round(weights.match_share * rows * (rows - 1) / 2) if weights else 0,
        "expected_household_pairs": round(weights.household_share * rows * (rows - 1) / 2) if weights else 0,
        "review": queue.inserted,
        "chains_cut": chains,
        "judged_same": words.get("same", 0),
        "judged_different": words.get("different", 0),
        "still_together": overruled,
        "weights": weights.told() if weights else {},
        "rounds": weights.rounds if weights else 0,
    }


if __name__ == "__main__":
    run(main, Args)
