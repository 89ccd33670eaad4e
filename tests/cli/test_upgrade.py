"""What an upgrade says it will do: the steps are a golden text for each situation."""

import pytest

from cli.upgrade import Plan
from common.features.declared import Changes
from streaming.names import OUTPUTS

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
