"""Champion and challenger: whether a newly trained model becomes the live one. A pure rule."""

from dataclasses import dataclass
from typing import Literal

Unjudged = Literal["promote", "hold"]


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
) -> Verdict:
    """The verdict on a challenger that reached ``figure`` on the test, where popularity reached ``popularity``.

    ``live`` is what the live model's recipe reached on the same test, None where there is no live model or it has the
    challenger's own recipe, which newer data alone makes better. With fewer than ``least_users`` test visitors nothing
    can be told, and ``unjudged`` decides. ``outdated`` says that the live model was trained at a later cut.
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
    beaten = f"popularity's {popularity:.4f}" + ("" if live is None else f" and {live:.4f} of the live model's recipe")
    return Verdict(True, f"nDCG {figure:.4f} is above {beaten}")
