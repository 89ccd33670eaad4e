"""What to try next: hyperopt's TPE over the trials so far, one suggestion at a time, on the driver.

A trial's suggestion hangs on the trials before it and on a seed of its own, so a study that was killed and taken up
again from its table goes on as if nothing had been.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from jobs.spark.als import Recipe

Search = Literal["tpe", "random"]


@dataclass(frozen=True)
class Space:
    """What is searched, bounds included."""

    ranks: tuple[int, int]
    """Every whole number between, equally likely."""
    iterations: tuple[int, ...]
    """One of these."""
    regs: tuple[float, float]
    """Between, equally likely on a logarithmic scale."""
    alphas: tuple[float, float]
    """As ``regs``."""

    def values(self, recipe: Recipe) -> dict[str, float]:
        """A recipe as hyperopt keeps it: a choice by its place."""
        return {
            "rank": recipe.rank,
            "iterations": self.iterations.index(recipe.iterations),
            "reg": recipe.reg,
            "alpha": recipe.alpha,
        }


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried; its nDCG is None where the fit failed."""

    recipe: Recipe
    ndcg: float | None


def suggest(space: Space, done: Iterable[Trial], base: Recipe, search: Search, seed: int, startup: int) -> Recipe:
    """The recipe to try after those ``done``, in their order; what is not searched is ``base``'s.

    The first ``startup`` are drawn at random, whatever the ``search``.
    """
    from hyperopt import Trials, hp, rand, space_eval, tpe  # takes a second to import
    from hyperopt.base import Domain

    expressions = {
        "rank": hp.uniformint("rank", *space.ranks),
        "iterations": hp.choice("iterations", list(space.iterations)),
        "reg": hp.loguniform("reg", *np.log(space.regs)),
        "alpha": hp.loguniform("alpha", *np.log(space.alphas)),
    }
    trials = Trials()
    documents = [_document(number, space.values(trial.recipe), trial.ndcg) for number, trial in enumerate(done)]
    if documents:
        trials.insert_trial_docs(documents)
        trials.refresh()
    algorithm = rand.suggest if search == "random" else partial(tpe.suggest, n_startup_jobs=startup)
    number = len(documents)
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0] % (2**31 - 1))
    # The objective is never called by hyperopt: it only wants to know the space.
    (suggested,) = algorithm([number], Domain(lambda _: None, expressions), trials, own_seed)
    # Places of choices and whole floats become the values they stand for.
    found = space_eval(expressions, {name: values[0] for name, values in suggested["misc"]["vals"].items()})
    return Recipe(
        mode=base.mode,
        seed=base.seed,
        rank=int(found["rank"]),
        iterations=int(found["iterations"]),
        reg=float(found["reg"]),
        alpha=float(found["alpha"]),
    )


def _document(number: int, values: dict[str, float], ndcg: float | None) -> dict[str, Any]:
    """A finished trial as hyperopt's table of trials has it: it makes ``-ndcg`` small."""
    result = {"status": "fail"} if ndcg is None else {"status": "ok", "loss": -ndcg}
    return {
        "state": 2,  # hyperopt.JOB_STATE_DONE
        "tid": number,
        "spec": None,
        "result": result,
        "misc": {
            "tid": number,
            "cmd": None,
            "idxs": {name: [number] for name in values},
            "vals": {name: [value] for name, value in values.items()},
        },
        "exp_key": None,
        "owner": None,
        "version": 0,
        "book_time": None,
        "refresh_time": None,
    }


def stale(done: list[Trial], patience: int) -> bool:
    """Whether none of the last ``patience`` trials was better than the best before them."""
    figures = [-1.0 if trial.ndcg is None else trial.ndcg for trial in done]
    return len(figures) > patience and max(figures[-patience:]) <= max(figures[:-patience])
