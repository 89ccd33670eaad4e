"""The search for a recipe: it goes on from its table as if it had not been ended, and beats chance. No Spark."""

import math
import sys

import pytest

from common.errors import MissingRequirement
from jobs.spark.als import Recipe
from jobs.spark.tuning import Space, Trial, stale, suggest

SPACE = Space(ranks=(8, 128), iterations=(5, 10, 20), regs=(1e-3, 1.0), alphas=(1e-2, 100.0))


def figure(recipe: Recipe) -> float:
    """A bowl whose top is at rank 40, 10 iterations, reg 0.1 and alpha 0.5."""
    off = (math.log(recipe.reg / 0.1), math.log(recipe.alpha / 0.5), (recipe.rank - 40) / 40, recipe.iterations != 10)
    return 1 / (1 + sum(x * x for x in off))


def study(search: str, seed: int, until: int, done: tuple[Trial, ...] = ()) -> list[Trial]:
    trials = list(done)
    while len(trials) < until:
        recipe = suggest(SPACE, trials, Recipe(mode="explicit", seed=7), search, seed, startup=6)  # type: ignore[arg-type]
        trials.append(Trial(recipe, None if len(trials) == 3 else figure(recipe)))
    return trials


@pytest.mark.parametrize("search", ["tpe", "random", "optuna"])
def test_a_study_taken_up_again_goes_on_as_it_would_have(search):
    whole = study(search, 1, 14)
    assert study(search, 1, 14, tuple(whole[:9])) == whole
    assert len({trial.recipe for trial in whole}) == 14
    for trial in whole:
        recipe = trial.recipe
        assert 8 <= recipe.rank <= 128 and recipe.iterations in SPACE.iterations
        assert 1e-3 <= recipe.reg <= 1 and 1e-2 <= recipe.alpha <= 100
        assert (recipe.mode, recipe.seed) == ("explicit", 7)


@pytest.mark.parametrize("tpe", ["tpe", "optuna"])
def test_tpe_finds_better_recipes_than_chance(tpe):
    def best(search: str) -> float:
        return sum(max(t.ndcg or 0 for t in study(search, seed, 30)) for seed in range(3))

    assert best(tpe) > best("random")


def test_a_search_whose_library_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingRequirement, match=r"pip install '\.\[optuna\]'"):
        study("optuna", 1, 1)
    assert len(study("tpe", 1, 1)) == 1


def test_a_study_ends_after_enough_trials_without_a_better_one():
    trials = [Trial(Recipe(), figure) for figure in (0.1, 0.3, None, 0.2, 0.3)]
    assert stale(trials, 3)
    assert not stale(trials, 4)
    assert not stale(trials[:3], 3)
