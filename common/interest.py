"""The interest score as it was first stated (capabilities row 67), its four faults mended.

As stated, one interaction with category c at learning rate r does: x_c += r (1 - x_c), every other x -= r x, then
the vector is normalised to sum 1. As usually written it has four faults. Here a category not yet in the vector
enters it; a vector without mass becomes the category alone and nothing is divided by zero; the input is not changed;
and time and the event's weight play a part: an interaction of weight w moves the vector as w interactions would
(``1 - (1 - r) ** w``), and interests fade with their age before it, so that newer ones count for more.

What is served is the decayed sum of the feature group ``interest``, which merges in any order; this score does not,
and is kept for comparison.
"""

import math
from collections.abc import Mapping

LEARNING_RATE = 0.1
MAX_SHARE = 1e9
"""Of a vector that is not normalised yet."""


def update_interest(
    interests: Mapping[str, float],
    category: str,
    *,
    weight: float = 1.0,
    elapsed_ms: int = 0,
    half_life_ms: int | None = None,
    learning_rate: float = LEARNING_RATE,
) -> dict[str, float]:
    """The interests after one interaction: category to share, shares at least 0 and summing to 1.

    ``weight`` is the event's (0 changes no share); ``elapsed_ms`` the time since the update before and
    ``half_life_ms`` the span in which a standing interest loses half of its pull against new evidence (None: never).
    Shares that do not sum to 1 are normalised first. Raises ValueError where an argument is out of its bounds.
    """
    if not 0 < learning_rate < 1:
        raise ValueError(f"learning_rate {learning_rate} is not between 0 and 1")
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight {weight} is not a finite number from 0")
    if half_life_ms is not None and half_life_ms <= 0:
        raise ValueError(f"half_life_ms {half_life_ms} is not above 0")
    if any(not 0 <= share <= MAX_SHARE for share in interests.values()):
        raise ValueError(f"a share is not a number from 0 to {MAX_SHARE:.0f}")
    standing = {name: share for name, share in interests.items() if share > 0}
    mass = math.fsum(standing.values())
    if not standing:
        return {category: 1.0} if weight > 0 else {}
    # An interaction that comes late has a negative span: interests do not grow for it.
    kept = 1.0 if half_life_ms is None else 0.5 ** (max(0, elapsed_ms) / half_life_ms)
    stay = (1 - learning_rate) ** weight
    old, new = stay * kept, 1 - stay
    updated = {name: old * share / mass for name, share in standing.items()}
    updated[category] = updated.get(category, 0.0) + new
    total = math.fsum(updated.values())
    if total <= 0:  # everything faded and nothing new came
        return {name: share / mass for name, share in standing.items()}
    return {name: share / total for name, share in updated.items() if share > 0}
