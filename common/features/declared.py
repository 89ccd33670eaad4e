"""What the feature groups were declared as, in few bytes: how views made by other declarations are told apart.

A version of the batch views and a generation of the speed views carry it; who reads them compares it with its own, so
that no answer is made of tiles that mean different things.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import ConfigError
from common.features.groups import GROUPS, FeatureGroup

Declared = Mapping[str, str]
"""``version:digest`` by group."""


def declared(groups: Mapping[str, FeatureGroup] = GROUPS) -> dict[str, str]:
    """The version of each group, and a digest of everything that its tiles depend on."""
    return {name: f"{group.version}:{_digest(group)}" for name, group in sorted(groups.items())}


@dataclass(frozen=True)
class Changes:
    """What differs between two declarations, by the names of groups."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


def changes(before: Declared, now: Declared) -> Changes:
    """What became of the groups.

    Raises ConfigError where a group is declared otherwise under its old version: its tiles would land in the tables
    that hold the old ones.
    """
    kept = before.keys() & now.keys()
    changed = sorted(name for name in kept if before[name] != now[name])
    for name in changed:
        version = now[name].partition(":")[0]
        if before[name].partition(":")[0] == version:
            raise ConfigError(
                f"feature group {name} is declared otherwise, and its version is {version} as before: give it"
                f" version={int(version) + 1} in common/features/groups.py, so that it gets tables of its own"
            )
    return Changes(tuple(sorted(now.keys() - before)), tuple(changed), tuple(sorted(before.keys() - now)))


def _digest(group: FeatureGroup) -> str:
    of_group = (group.key, group.by, group.tile_ms, group.partition, group.where.flink())
    of_each = [(name, str(one.kind), one.nullable, one.flink("tile_end")) for name, one in group.aggregates.items()]
    return hashlib.sha256(repr((of_group, of_each)).encode()).hexdigest()[:12]
