"""Drift: how far what comes in has moved from what the live model was trained on, and whether that asks for training.

Pure rules; jobs.spark.drift counts what they judge.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """The Population Stability Index of two histograms over the same bins: the sum of (q - p) ln(q / p).

    p and q are the parts of a bin before and now, with half an observation added to each bin, so that an empty one
    tells a finite figure. 0 is no change; by the rule of thumb, below 0.1 is little and from 0.25 on a shift (Siddiqi
    2006, Credit Risk Scorecards). It is the symmetric Kullback-Leibler divergence; of B bins and samples of n and m
    from one population about (B - 1) (1/n + 1/m) is expected (Yurdakul 2018). Raises ValueError where the bins are not
    the same number, or a histogram has no observation.
    """
    if len(before) != len(now):
        raise ValueError(f"{len(before)} bins before and {len(now)} now: both histograms need the same bins")
    if sum(before) <= 0 or sum(now) <= 0:
        raise ValueError("a histogram without an observation has no parts to compare")
    halves = len(before) / 2
    p = [(n + 0.5) / (sum(before) + halves) for n in before]
    q = [(n + 0.5) / (sum(now) + halves) for n in now]
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


@dataclass(frozen=True)
class Retraining:
    """Whether to train, and why."""

    train: bool
    why: str


def retraining(age_days: float, oldest_days: float, drift: Mapping[str, float], threshold: float) -> Retraining:
    """Whether a live model of that age is to be followed by a new one, by the drift of each measure of the input.

    Without any measure nothing is known of the input, so a model is trained.
    """
    if age_days >= oldest_days:
        return Retraining(True, f"the live model is {age_days:g} days old, {oldest_days:g} are allowed")
    if not drift:
        return Retraining(True, "there are no events to measure drift by")
    name = max(sorted(drift), key=lambda measure: drift[measure])
    if drift[name] >= threshold:
        return Retraining(True, f"drift {drift[name]:.4f} of {name} reaches {threshold:g}")
    told = f"the live model is {age_days:g} days old and drift {drift[name]:.4f} of {name} is below {threshold:g}"
    return Retraining(False, told)
