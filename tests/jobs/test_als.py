"""The fit: its factors fold in to MLlib's own in both modes, and a split that sees the future is refused."""

import numpy as np
import pytest

from common.embedding import write_model
from common.errors import ConfigError
from jobs.spark.als import Recipe, fit, number
from jobs.train_als import Args, fold_in_difference, held_out

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("mode", ["implicit", "explicit"])
def test_the_fold_in_is_mllibs_own_half_step(spark, tmp_path, mode):
    rng = np.random.default_rng(3)
    pairs = {(int(v), int(i)) for v, i in zip(rng.integers(0, 30, 300), rng.integers(0, 20, 300), strict=True)}
    rows = [(f"v{v:02}", f"i{i:02}", int(rng.integers(1, 6))) for v, i in sorted(pairs)]
    ratings = number(spark, spark.createDataFrame(rows, "visitor_id string, item_id string, weight long"))
    recipe = Recipe(mode=mode, rank=4, iterations=3, reg=0.1, alpha=2.0)
    fitted = fit(ratings, recipe, blocks=2)
    assert ratings.item_ids == sorted({row[1] for row in rows})
    assert fitted.item_factors.shape == (len(ratings.item_ids), 4)
    names = ratings.item_ids
    write_model(
        tmp_path,
        model_version="m",
        cut_ms=0,
        mode=mode,
        alpha=recipe.alpha,
        reg=recipe.reg,
        item_ids=names,
        factors=fitted.item_factors,
        categories=names,
        titles=names,
        prices=[None] * len(names),
    )
    compared, difference = fold_in_difference(tmp_path, ratings, fitted)
    assert compared == 30
    assert difference < 1e-5


def test_a_random_split_must_be_asked_for_outright(spark):
    events = spark.createDataFrame(
        [(f"v{n}", "i", n) for n in range(50)], "visitor_id string, item_id string, event_ms long"
    )
    args = Args(lake="lake", cut=0, split="random")
    with pytest.raises(ConfigError, match="--allow-random-split true"):
        held_out(events, args)
    asked = Args(lake="lake", cut=0, split="random", allow_random_split=True)
    taken = {row[0] for row in events.where(held_out(events, asked)).collect()}
    assert 0 < len(taken) < 25 and taken == {row[0] for row in events.where(held_out(events, asked)).collect()}
    newest = {row["event_ms"] for row in events.where(held_out(events, Args(lake="lake", cut=0))).collect()}
    assert newest == set(range(39, 50)) or newest == set(range(40, 50))
