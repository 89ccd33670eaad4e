"""Champion and challenger: whether a newly trained model becomes the live one. A pure rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unjudged = Literal["promote", "hold"]


LEAST_SHARE = 0.5
"""How much of what popularity gives a group its visitors must get at least."""

LARGEST_DROP = 0.2
"""How far a figure may lie below the one that the live model reached on its own night, by that one."""

LEAST_GROUP = 50
"""Fewest test visitors of a group that tell anything about it."""


@dataclass(frozen=True)
class Group:
    """One group of test visitors, and what the challenger and popularity reached among them."""

    users: int
    figure: float
    popularity: float


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why."""

    promote: bool
    why: str


def verdict(
    users: int,
    least_users: int,
    figure: float,
    popularity: float,
    live: float | None,
    unjudged: Unjudged,
    outdated: bool = False,
    groups: Mapping[str, Group] | None = None,
    least_share: float = LEAST_SHARE,
    recorded: float | None = None,
    largest_drop: float = LARGEST_DROP,
) -> Verdict:
    """The verdict on a challenger that reached ``figure`` on the test, where popularity reached ``popularity``.

    ``live`` is what the live model's recipe reached on the same test, None where there is no live model or it has the
    challenger's own recipe, which newer data alone makes better. ``recorded`` is what the live model itself reached on
    its own night, None where that is not known: who lies below it by more than ``largest_drop`` of it has rather seen
    broken input than another day. With fewer than ``least_users`` test visitors nothing can be told, and ``unjudged``
    decides. Whatever the mean says, none of the ``groups`` of :data:`LEAST_GROUP` or more visitors may get less than
    ``least_share`` of what popularity would give it. ``outdated`` says that the live model was trained at a later cut.
    """
    if outdated:
        return Verdict(False, "the live model was trained at a later cut")
    if users < least_users:
        told = f"not judged: {users} test visitors, it takes {least_users}"
        return Verdict(unjudged == "promote", told)
    if figure <= popularity:
        return Verdict(False, f"nDCG {figure:.4f} is not above popularity's {popularity:.4f}")
    if live is not None and figure <= live:
        return Verdict(False, f"nDCG {figure:.4f} is not above {live:.4f} of the live model's recipe")
    if recorded is not None and figure < (1 - largest_drop) * recorded:
        far = f"more than {largest_drop:.0%} below the {recorded:.4f} that the live model reached on its own night"
        return Verdict(False, f"nDCG {figure:.4f} is {far}: look whether events are missing")
    for name, group in sorted((groups or {}).items()):
        if group.users >= LEAST_GROUP and group.figure < least_share * group.popularity:
            told = f"nDCG {group.figure:.4f} of the {group.users} visitors in {name!r} is less than {least_share:g} of"
            return Verdict(False, f"{told} popularity's {group.popularity:.4f}: the model fails them")
    beaten = f"popularity's {popularity:.4f}" + ("" if live is None else f" and {live:.4f} of the live model's recipe")
    return Verdict(True, f"nDCG {figure:.4f} is above {beaten}")
