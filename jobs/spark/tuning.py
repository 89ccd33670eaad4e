"""What to try next, after the trials so far: hyperopt's TPE or Optuna's, one suggestion at a time, on the driver.

A trial's suggestion hangs on the trials before it and on a seed of its own, so a study that was killed and taken up
again from its table goes on as if nothing had been.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from common.errors import MissingRequirement
from jobs.spark.als import Recipe

Search = Literal["tpe", "random", "optuna"]
"""hyperopt's TPE, hyperopt's random search, Optuna's TPE."""


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

    The first ``startup`` are drawn at random, whatever the ``search``. Raises MissingRequirement where the search's
    library is not installed.
    """
    trials = list(done)
    own_seed = int(np.random.SeedSequence([seed, len(trials)]).generate_state(1)[0] % (2**31 - 1))
    if search == "optuna":
        found = _optuna(space, trials, own_seed, startup)
    else:
        found = _hyperopt(space, trials, search, own_seed, startup)
    return Recipe(
        mode=base.mode,
        seed=base.seed,
        rank=int(found["rank"]),
        iterations=int(found["iterations"]),
        reg=float(found["reg"]),
        alpha=float(found["alpha"]),
    )


def _hyperopt(space: Space, done: list[Trial], search: Search, seed: int, startup: int) -> dict[str, Any]:
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
    # The objective is never called by hyperopt: it only wants to know the space.
    (suggested,) = algorithm([len(documents)], Domain(lambda _: None, expressions), trials, seed)
    # Places of choices and whole floats become the values they stand for.
    return dict(space_eval(expressions, {name: values[0] for name, values in suggested["misc"]["vals"].items()}))


def _optuna(space: Space, done: list[Trial], seed: int, startup: int) -> dict[str, Any]:
    try:
        import optuna
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingRequirement("--search optuna needs Optuna: pip install '.[optuna]' in the checkout") from None

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study that it makes, and here of each trial
    distributions: dict[str, BaseDistribution] = {
        "rank": IntDistribution(*space.ranks),
        "iterations": CategoricalDistribution(space.iterations),
        "reg": FloatDistribution(*space.regs, log=True),
        "alpha": FloatDistribution(*space.alphas, log=True),
    }
    startup = max(startup - sum(trial.ndcg is None for trial in done), 1)  # it does not count those that failed
    sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in done:
        outcome = {"state": optuna.trial.TrialState.FAIL} if trial.ndcg is None else {"value": trial.ndcg}
        tried = {name: getattr(trial.recipe, name) for name in distributions}
        study.add_trial(optuna.trial.create_trial(params=tried, distributions=distributions, **outcome))
    return study.ask(distributions).params


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
