"""Other features, or another stream, on a running system: a new generation beside the old one, then one switch.

The old generation serves until the new one has everything. Each layer then flips by itself; readers take only what
their own declarations made, so an answer is of the old features or of the new ones, never of both.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cassandra.cluster import Session

from cli.applications import alive, rest_of, running, start, stop
from cli.environment import session_of
from cli.jobs import submit_job
from cli.machine import CATCH_UP_S, KEEPS_UP_S, start_serving, wait_caught_up, wait_passed
from cli.options import home
from common import bundle, config
from common.config import Config
from common.errors import ConfigError, IncompleteInput, MissingRequirement, ServerUnavailable
from common.features.declared import Changes, Declared, changes, declared
from common.features.windows import HOUR_MS, horizon_start
from streaming.names import OUTPUTS, consumer_group, parts_of, unit
from streaming.takeover import TakeOver
from views.pointer import BATCH, SPEED, Pointer, read_pointer
from views.versions import Generations, Version, find_version, list_versions

if TYPE_CHECKING:
    from local.servers import Platform

BACKFILL = ("features", "memberships", "check", "publish")
"""The jobs that read tiles; the rest of the chain has nothing new to say of the same cut."""

DISORDER_MS = 10_000
"""By how much the old generation's watermark may lag behind what it has read."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What an upgrade goes from and to."""

    old: str
    """The live generation."""
    units: tuple[str, ...]
    """The applications that write it, by name; none where it is stopped."""
    features: Changes
    cut_ms: int | None
    """The cut of the live batch version; None where batch has published nothing."""
    backfills: bool = False
    """Whether the live batch version was made by other declarations."""
    going_on: str = ""
    """A generation that an earlier upgrade, which did not get to its end, has started."""

    @property
    def reads_from_ms(self) -> int | None:
        """The oldest record that the new generation reads: batch has the tiles before."""
        return None if self.cut_ms is None else horizon_start(self.cut_ms) - HOUR_MS

    @property
    def outputs(self) -> tuple[tuple[str, ...], ...]:
        """The outputs of each application, split as the old generation's are."""
        return tuple(parts_of(one)[1] for one in self.units) or (OUTPUTS,)

    def lines(self, serving_here: bool, drop: bool) -> list[str]:
        """The steps, one a line."""
        named = ("new", self.features.new), ("changed", self.features.changed), ("gone", self.features.gone)
        what = "; ".join(f"{word}: {', '.join(names)}" for word, names in named if names) or "none changes"
        begin = f"Kafka timestamp {self.reads_from_ms}" if self.cut_ms is not None else "the topic's beginning"
        running = ", ".join(self.units)
        fresh = (
            "claim a new generation, with tables of its own",
            f"start its stream at {begin} beside {self.old}; archive, rejections, triggers from the topic's end on",
        )
        steps = [
            *([f"go on with {self.going_on}, which an earlier upgrade started"] if self.going_on else fresh),
            "wait until it keeps up with the topic",
            f"compute history for the live cut {self.cut_ms} and publish it: {', '.join(BACKFILL)}"
            if self.backfills
            else "leave the batch views as they are",
            "make the new generation live",
            "start serving again with this code" if serving_here else "serving elsewhere: roll it out with this code",
        ]
        if running and serving_here:
            steps.append(f"stop {running} with a savepoint, once it has passed what the topic held at the start")
        elif running:
            steps.append(f"leave {running} to those who still read it; then: {self._later(drop)}")
        if serving_here:
            steps.append(f"drop the tables of {self.old}" if drop else f"keep the tables of {self.old}, to go back to")
        return [f"feature groups: {what}", *(f"{number}. {step}" for number, step in enumerate(steps, 1))]

    def _later(self, drop: bool) -> str:
        stops = [f"dovetail stream stop {one}" for one in self.units]
        return "; ".join([*stops, *([f"dovetail stream drop {self.old}"] if drop else [])])


def plan_of(
    speed: Pointer | None,
    batch: Pointer | None,
    versions: Sequence[Version],
    running: Sequence[str],
    now: Declared,
) -> Plan:
    """What an upgrade to the declarations ``now`` would do.

    ``versions`` are the generations by creation, ``running`` the applications that run. Raises ConfigError where
    nothing is live, or a group was changed under its old version.
    """
    if speed is None:
        raise ConfigError("no generation is live: start the stream (dovetail submit streaming), then dovetail live")
    known = {version.name: version for version in versions}
    units = {name: tuple(sorted(one for one in running if parts_of(one)[0] == name)) for name in known}
    begun = [name for name, one in known.items() if one.info.get("features") == now and "take_over" in one.info]
    old, going_on = speed.live, ""
    if speed.live in begun and speed.previous and units.get(speed.previous[0]):
        old, going_on = speed.previous[0], speed.live  # it went live, and the one before was not stopped
    else:
        newer = [name for name in begun if known[name].created_ms > known[old].created_ms and units[name]]
        going_on = newer[-1] if newer else ""
    before, published = known[old].info.get("features"), batch.info.get("features") if batch else None
    if published is not None:
        changes(published, now)
    return Plan(
        old=old,
        units=units[old],
        # what never noted its features may be of any
        features=changes(before, now) if before is not None else Changes(changed=tuple(now)),
        cut_ms=batch.cut_ms if batch is not None else None,
        backfills=batch is not None and published != now,
        going_on=going_on,
    )


def upgrade(env: str, overrides: tuple[str, ...], *, dry_run: bool, drop: bool, say: Say) -> None:
    """Carry it out, or only say the steps; the same call goes on where an earlier one ended.

    Raises IncompleteInput where the topic no longer holds what the new generation must read, ServerUnavailable where a
    step fails: what was live then still is.
    """
    loaded = config.load(env, None, overrides)
    rest = rest_of(loaded)
    with session_of(loaded) as session:
        speed, batch = read_pointer(session, SPEED), read_pointer(session, BATCH)
        plan = plan_of(speed, batch, list_versions(session, SPEED), list(alive(rest, loaded)), declared())
        platform = _serving_here(loaded)
        for line in plan.lines(platform is not None, drop):
            say(line)
        if dry_run:
            return
        bundle.build(home(), home() / loaded.zip)
        new = find_version(session, SPEED, plan.going_on) if plan.going_on else _claim(session, loaded, plan)
        names = [unit(new.name, outputs) for outputs in plan.outputs]
        for name, outputs in zip(names, plan.outputs, strict=True):
            if name not in alive(rest, loaded):
                say(f"upgrade: submitting {name} ...")
                start(rest, loaded, name, outputs, new.reads_from_ms, env, overrides)
        for name in names:
            say(f"upgrade: waiting until {name} keeps up ...")
            interval_s = rest.checkpoint_interval_s(alive(rest, loaded)[name])
            wait_caught_up(loaded, consumer_group(name), max(KEEPS_UP_S, 3 * interval_s))
        if plan.backfills:
            say("upgrade: batch computes history ...")
            _backfill(plan, env, overrides)
        Generations(session).make_live(new.name)
        say(f"upgrade: generation {new.name} is live")
        if platform is None:
            return
        platform.serving.stop()
        start_serving(platform, env, overrides, loaded)
        upto = TakeOver.parse(new.info.get("take_over", "")).positions
        for name in plan.units:
            wait_passed(loaded, consumer_group(name), upto, time.monotonic() + CATCH_UP_S)
            _, job = running(rest, loaded, name)
            rest.wait_checkpoint(job, CATCH_UP_S)  # the archive shows merged files one checkpoint later
            path = stop(rest, loaded, name, job)
            say(f"upgrade: {name} stopped; its state is {path}")
        if drop:
            Generations(session).drop(plan.old)
            say(f"upgrade: generation {plan.old} is dropped")
        else:
            say(f"upgrade: {plan.old} is kept; when it is not wanted any more: dovetail stream drop {plan.old}")


def _claim(session: Session, loaded: Config, plan: Plan) -> Version:
    from local.kafka import ends, keeps, newest

    where, topic = loaded.kafka.bootstrap, loaded.kafka.events_topic
    begin = plan.reads_from_ms
    if begin is not None and not keeps(where, topic, begin):
        raise IncompleteInput(
            f"topic {topic} no longer holds all since {begin}, which the live cut {plan.cut_ms} needs: publish a later"
            " cut first (dovetail nightly --cut ...)"
        )
    at = newest(where, topic).values()
    # a partition that lies further behind is taken to be silent: it holds no watermark back
    from_ms = max(min(at), max(at) - HOUR_MS) - DISORDER_MS if at else 0
    return Generations(session).create(begin, str(TakeOver(ends(where, topic), max(0, from_ms))))


def _backfill(plan: Plan, env: str, overrides: tuple[str, ...]) -> None:
    assert plan.cut_ms is not None
    cut = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(plan.cut_ms / 1_000))
    left_out = ",".join(name for name in config.in_order() if name not in BACKFILL)
    if submit_job("chain", cut, (f"skip={left_out}",), env, overrides) != 0:
        raise ServerUnavailable(
            f"the batch jobs failed; their own words are above. {plan.old} is live as before, the new generation runs"
            " on: mend the cause and give the same command again"
        )


def _serving_here(loaded: Config) -> "Platform | None":
    """The platform of this machine, where its serving layer runs."""
    from local.servers import Platform

    try:
        platform = Platform.load(home() / loaded.local.folder)
    except MissingRequirement:
        return None
    return platform if platform.serving.pid is not None else None
