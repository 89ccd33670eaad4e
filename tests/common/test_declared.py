"""What groups were declared as is told apart by every part that a tile depends on, and by nothing else."""

from typing import Any

import pytest

from common.errors import ConfigError
from common.features.algebra import count, total
from common.features.declared import Changes, changes, declared
from common.features.expressions import event
from common.features.groups import FeatureGroup, feature_group


def group(name: str = "looks", version: int = 1, **changed: Any) -> FeatureGroup:
    parts: dict[str, Any] = {"key": "visitor_id", "tile": "1 hour", "views": count(where=event.type == "view")}
    return feature_group(name, version=version, **{**parts, **changed})


def of(*groups: FeatureGroup) -> dict[str, str]:
    return declared({one.name: one for one in groups})


def test_the_same_declaration_is_the_same_in_every_process() -> None:
    assert of(group()) == of(group()) == {"looks": "1:" + of(group())["looks"][2:]}
    assert len(of(group())["looks"]) == 14


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "item_id"},
        {"tile": "1 minute"},
        {"by": "category"},
        {"partition": "tile"},
        {"where": event.weight > 0},
        {"views": count(where=event.type == "cart")},
        {"views": total(event.quantity)},
        {"carts": count(where=event.type == "cart")},
    ],
)
def test_every_part_of_a_declaration_counts(changed: dict[str, Any]) -> None:
    assert of(group(**changed)) != of(group())
    with pytest.raises(ConfigError, match="feature group looks is declared otherwise.*version=2"):
        changes(of(group()), of(group(**changed)))
    assert changes(of(group()), of(group(version=2, **changed))) == Changes(changed=("looks",))


def test_groups_that_came_and_went_are_named() -> None:
    assert changes(of(group("a"), group("b")), of(group("b"), group("c"))) == Changes(new=("c",), gone=("a",))
    assert not changes(of(group()), of(group()))
