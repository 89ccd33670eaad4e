"""What an upgrade says it will do: the steps are a golden text for each situation."""

import pytest

from cli.upgrade import Plan, plan_of
from common.errors import ConfigError
from common.features.declared import Changes
from streaming.names import OUTPUTS
from views.pointer import Pointer
from views.versions import Version

CUT = 1_795_132_800_000

WHOLE = """\
feature groups: new: pulse; changed: activity
1. claim a new generation, with tables of its own
2. start its stream at Kafka timestamp 1794956400000 beside g1; archive, rejections, triggers from the topic's end on
3. wait until it keeps up with the topic
4. compute history for the live cut 1795132800000 and publish it: features, memberships, check, publish
5. make the new generation live
6. start serving again with this code
7. stop g1 with a savepoint, once it has passed what the topic held at the start
8. keep the tables of g1, to go back to
"""

ELSEWHERE = """\
feature groups: changed: activity
1. go on with g2, which an earlier upgrade started
2. wait until it keeps up with the topic
3. leave the batch views as they are
4. make the new generation live
5. serving elsewhere: roll it out with this code
6. leave g1-archive, g1-visitors to those who still read it; then: dovetail stream stop g1-archive; \
dovetail stream stop g1-visitors; dovetail stream drop g1
"""

STOPPED = """\
feature groups: none changes
1. claim a new generation, with tables of its own
2. start its stream at the topic's beginning beside g1; archive, rejections, triggers from the topic's end on
3. wait until it keeps up with the topic
4. leave the batch views as they are
5. make the new generation live
6. start serving again with this code
7. drop the tables of g1
"""


@pytest.mark.parametrize(
    ("plan", "serving_here", "drop", "says"),
    [
        (Plan("g1", ("g1",), Changes(("pulse",), ("activity",)), CUT, backfills=True), True, False, WHOLE),
        (
            Plan("g1", ("g1-archive", "g1-visitors"), Changes((), ("activity",)), CUT, False, "g2"),
            False,
            True,
            ELSEWHERE,
        ),
        (Plan("g1", (), Changes(), None), True, True, STOPPED),
    ],
)
def test_the_steps_of_each_situation(plan: Plan, serving_here: bool, drop: bool, says: str) -> None:
    assert "\n".join(plan.lines(serving_here, drop)) + "\n" == says


def test_applications_that_share_a_generation_are_started_as_they_were_split() -> None:
    assert Plan("g1", ("g1-archive", "g1-visitors"), Changes(), None).outputs == (("archive",), ("visitors",))
    assert Plan("g1", (), Changes(), None).outputs == (OUTPUTS,)


BEFORE, NOW = {"activity": "1:aa", "pulse": "1:bb"}, {"activity": "2:cc", "pulse": "1:bb"}


def generation(number: int, features: dict[str, str] | None, takes_over: bool = False) -> Version:
    info: dict[str, object] = {} if features is None else {"features": features}
    return Version("speed", f"g{number}", number, info={**info, **({"take_over": "0=1@2"} if takes_over else {})})


def live(name: str, *previous: str) -> Pointer:
    return Pointer("speed", name, previous)


def published(features: dict[str, str]) -> Pointer:
    return Pointer("batch", "v1", cut_ms=CUT, info={"features": features})


def test_an_upgrade_begins_goes_on_and_ends_as_often_as_it_is_called() -> None:
    first, second = generation(1, BEFORE), generation(2, NOW, takes_over=True)
    changed = Changes(changed=("activity",))
    begin = plan_of(live("g1"), published(BEFORE), [first], ["g1"], NOW)
    assert begin == Plan("g1", ("g1",), changed, CUT, backfills=True)
    going = plan_of(live("g1"), published(BEFORE), [first, second], ["g1", "g2"], NOW)
    assert going == Plan("g1", ("g1",), changed, CUT, backfills=True, going_on="g2")
    assert plan_of(live("g1"), published(NOW), [first, second], ["g1", "g2"], NOW).backfills is False
    flipped = plan_of(live("g2", "g1"), published(NOW), [first, second], ["g1", "g2"], NOW)
    assert flipped == Plan("g1", ("g1",), changed, CUT, going_on="g2"), "the old one was not stopped yet"
    ended = plan_of(live("g2", "g1"), published(NOW), [first, second], ["g2"], NOW)
    assert ended == Plan("g2", ("g2",), Changes(), CUT), "all is done: a further one would be a new generation"


def test_a_generation_that_does_not_run_or_is_of_other_features_is_not_gone_on_with() -> None:
    first, dead, other = generation(1, BEFORE), generation(2, NOW, True), generation(3, {**NOW, "pulse": "2:dd"}, True)
    plan = plan_of(live("g1"), None, [first, dead, other], ["g1", "g3-visitors"], NOW)
    assert (plan.going_on, plan.cut_ms, plan.backfills) == ("", None, False)


def test_what_never_noted_its_features_is_taken_for_changed() -> None:
    plan = plan_of(live("g1"), Pointer("batch", "v1", cut_ms=CUT), [generation(1, None)], [], NOW)
    assert plan.features == Changes(changed=("activity", "pulse")) and plan.backfills


def test_without_a_live_generation_or_with_an_old_version_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="no generation is live"):
        plan_of(None, None, [], [], NOW)
    with pytest.raises(ConfigError, match="its version is 1 as before"):
        plan_of(live("g1"), None, [generation(1, BEFORE)], [], {**BEFORE, "pulse": "1:zz"})
