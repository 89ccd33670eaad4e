"""nDCG@10 on MovieLens 100K, by the protocol of the table that Microsoft's Recommenders publish."""

import sys
import tempfile

import numpy as np

from benchmarks.harness import movielens, report, say
from common.blend import MODEL
from common.hybrid import weights_by_accuracy
from jobs.spark.als import Recipe, fit, number
from jobs.spark.evaluation import ALL
from jobs.spark.judging import judge, judged_visitors, lists_of_blends, lists_of_popularity
from jobs.spark.neighbours import COOCCURRENCE, as_arrays, cooccurrence
from jobs.spark.session import local_session
from local.jars import fetch

SEEDS = (42, 43, 44, 45, 46)
RECIPE = Recipe(rank=32, iterations=10, reg=0.1, alpha=0.3)
WEIGHED_BY = 7
"""The seed of the split that the blend's weights are measured on: none of those that are reported."""


def main() -> int:
    """Run the benchmark."""
    spark = local_session(
        "als_ml100k", fetch("delta"), memory="2g", settings={"spark.driver.extraJavaOptions": "-server"}
    )
    spark.sparkContext.setCheckpointDir(tempfile.mkdtemp())
    nobody = spark.createDataFrame([], "visitor_id string, segment string")
    singles = {name: {name: 1.0} for name in (MODEL, COOCCURRENCE)}

    def reached(seed: int, blends: dict[str, dict[str, float]]) -> dict[str, float]:
        trained, tested = (part.frame(spark) for part in movielens.split(seed))
        train = number(spark, trained)
        judged = judged_visitors(train, tested, nobody, 1_000_000).persist()
        alike = {COOCCURRENCE: as_arrays(cooccurrence(trained), train.item_ids)}
        lists = lists_of_blends(fit(train, RECIPE, 2), judged, alike, blends)
        figures = judge(train, judged, lists.unionByName(lists_of_popularity(train, judged, "popularity")))
        judged.unpersist()
        train.forget()
        found = {row["ranking"]: row["ndcg"] for row in figures if row["segment"] == ALL}
        say(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in sorted(found.items())))
        return found

    first = reached(WEIGHED_BY, singles)
    weights = weights_by_accuracy({name: first[name] for name in singles}, first["popularity"])
    runs = [reached(seed, {**singles, "hybrid": weights}) for seed in SEEDS]
    spark.stop()
    figures = {name: [run[name] for run in runs] for name in runs[0]}
    means = {name: round(float(np.mean(values)), 4) for name, values in figures.items()}
    report(
        "als_ml100k",
        means[MODEL],
        "nDCG@10",
        "higher",
        f"popularity in this run: {means['popularity']}; published: SAR 0.382, BPR 0.442, BiVAE 0.475",
        "MovieLens 100K, per-item stratified 75/25, all items ranked, train items removed, binary relevance, all users "
        f"with a test rating, mean of seeds {SEEDS}; {RECIPE}, weight = the rating as it stands; the hybrid's weights "
        f"are measured on the split of seed {WEIGHED_BY}",
        hybrid=means["hybrid"],
        cooccurrence=means[COOCCURRENCE],
        source_weights=weights,
        ndcg=figures,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
