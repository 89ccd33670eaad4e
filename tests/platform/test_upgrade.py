"""A feature changes on a running system, by one command: no answer is half old and half new, and none is wrong.

The house is copied twice: once as it is, once with the group ``activity`` declared otherwise. The first one's stream
and serving run; the second one upgrades them while events keep coming and every visitor is asked for all the time.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from common import config, submit
from common.bundle import PACKAGES, build
from common.features.algebra import count
from common.features.expressions import event
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import fold
from local.flink import FlinkSize
from local.paths import project_root
from local.ports import free_ports
from local.servers import STATE, Platform, Ports
from tests.platform.test_streaming import archived
from views.connect import ClusterSpec, connect, disconnect
from views.pointer import read_pointer

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

VISITORS = 12
EACH = 20
KINDS = ("view", "search", "share", "view", "cart", "uncart", "view")

OLD_DECLARATION = """activity = feature_group(
    "activity",
    key="visitor_id",
    tile="1 hour",
    views=count(where=event.type == "view"),
"""
NEW_DECLARATION = """activity = feature_group(
    "activity",
    version=2,
    key="visitor_id",
    tile="1 hour",
    views=count(where=event.type.is_in("view", "search")),
    shares=count(where=event.type == "share"),
"""

OLD = GROUPS["activity"]
NEW = replace(
    OLD,
    version=2,
    aggregates={
        **OLD.aggregates,
        "views": count(where=event.type.is_in("view", "search")),
        "shares": count(where=event.type == "share"),
    },
)


def house(folder: Path, declaration: str = OLD_DECLARATION) -> Path:
    """A copy of the checkout with this declaration of ``activity``, and checkpoints every two seconds."""
    for package in PACKAGES:
        shutil.copytree(project_root() / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(project_root() / "conf", folder / "conf")
    shutil.copy(project_root() / "setup.py", folder)
    (folder / "build").mkdir()
    (folder / "build" / "jars").symlink_to(project_root() / "build" / "jars")
    groups = folder / "common" / "features" / "groups.py"
    text = groups.read_text()
    assert OLD_DECLARATION in text
    groups.write_text(text.replace(OLD_DECLARATION, declaration))
    with (folder / "conf" / "jobs" / "streaming.yaml").open("a") as job:
        job.write("  checkpoint_interval: 2 seconds\n")
    return folder


@dataclass
class Shop:
    """A running system and how one speaks with it."""

    topic: str
    kafka: str
    spec: ClusterSpec
    url: str
    settings: list[str]
    variables: dict[str, str]
    folder: Path
    sent: list[dict[str, Any]] = field(default_factory=list)

    def dovetail(self, home: Path, *words: str) -> str:
        """The output of one of a house's commands, which must succeed."""
        settings = [word for setting in self.settings for word in ("--set", setting)]
        # What it tells of its progress goes where the test's own does: a step that takes too long is seen.
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words, *settings],
            cwd=home,
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"dovetail {' '.join(words)}: {done.stdout[-1_000:]}"
        return done.stdout

    def send(self, first: int, rounds: int, pause_s: float = 0.0) -> None:
        """Send ``rounds`` events of each visitor, and remember them."""
        client = Producer({"bootstrap.servers": self.kafka, "enable.idempotence": True, "log_level": 0})
        for number in range(first, first + rounds):
            at = time.time_ns() // 1_000_000
            for visitor in range(VISITORS):
                kind = KINDS[(number + visitor) % len(KINDS)]
                body: dict[str, Any] = {"event_id": f"{number}-{visitor}", "event_type": kind, "event_ms": at}
                body |= {"query": "mug"} if kind == "search" else {"item_id": f"i{number % 5}", "category": "home"}
                self.sent.append({**body, "visitor_id": f"u{visitor}"})
                key = f"u{visitor}"
                client.produce(self.topic, json.dumps({**body, "user_id": key}).encode(), key.encode(), visitor % 2)
            client.flush(30)
            time.sleep(pause_s)

    def ask(self, visitor: int) -> dict[str, Any] | None:
        """What serving knows of a visitor's last 24 hours; None where it does not answer or lacks a part."""
        try:
            answer = httpx.get(f"{self.url}/v1/users/u{visitor}/profile", timeout=5)
        except httpx.TransportError:
            return None
        if answer.status_code != 200 or answer.json()["missing"]:
            return None
        found: dict[str, Any] = answer.json()["features"]["24 hours"]
        return found


def totals(group: FeatureGroup, events: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Each visitor's counts by the single-process fold."""
    rows = [{**dict.fromkeys(group.inputs), **one} for one in events]
    found: dict[str, dict[str, int]] = {}
    names = [name for name in group.aggregates if name in ("views", "carts", "searches", "shares")]
    for visitor, tiles in fold(group, rows).items():
        columns = [dict(zip(group.aggregates, tile.values, strict=True)) for tile in tiles.values()]
        found[visitor] = {"n": sum(t.n for t in tiles.values()), **{k: sum(c[k] for c in columns) for k in names}}
    return found


@pytest.fixture
def shop(kafka, cassandra, flink_cluster, pseudonym_key, tmp_path) -> Iterator[Shop]:
    """Topics, a keyspace and folders of its own on the run's servers."""
    mark = uuid.uuid4().hex[:8]
    (port,) = free_ports(1)
    spec = ClusterSpec.parse(cassandra.address, keyspace=f"upgrade_{mark}")
    for name in (f"up-{mark}", f"up-{mark}.rejected", f"up-{mark}.triggers"):
        kafka.create_topic(name, 2)
    state = {"ports": asdict(Ports(serving=port)), "flink": asdict(FlinkSize())}
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / STATE).write_text(json.dumps(state))
    settings = [
        f"kafka.bootstrap={kafka.address}",
        f"kafka.events_topic=up-{mark}",
        f"kafka.rejected_topic=up-{mark}.rejected",
        f"kafka.triggers_topic=up-{mark}.triggers",
        f"cassandra.contact={cassandra.address}",
        f"cassandra.keyspace={spec.keyspace}",
        f"flink.jobmanager={flink_cluster.address}",
        f"flink.checkpoints={tmp_path}/states",
        "flink.parallelism=1",
        f"lake.root={tmp_path}/lake",
        f"lake.archive={tmp_path}/archive",
        f"local.folder={tmp_path}/platform",
        f"serving.port={port}",
        f"serving.url=http://127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    yield Shop(f"up-{mark}", kafka.address, spec, url, settings, flink_cluster.environment(), tmp_path)
    Platform.load(tmp_path / "platform").serving.stop()
    for job, state_ in flink_cluster.rest.jobs().items():
        if state_ in ("RUNNING", "RESTARTING", "CREATED"):
            flink_cluster.rest.cancel(job)
    session = connect(spec, with_keyspace=False)
    session.execute(f"DROP KEYSPACE IF EXISTS {spec.keyspace}", timeout=60.0)
    disconnect(session)


def test_a_changed_group_replaces_the_old_one_and_no_answer_is_of_both(shop: Shop, flink_cluster, tmp_path) -> None:
    before, after = house(tmp_path / "before"), house(tmp_path / "after", NEW_DECLARATION)
    build(before, before / "dist" / "dovetail.zip")
    serving = Platform.load(tmp_path / "platform").serving
    with flink_cluster.supervised():
        shop.send(0, EACH)
        shop.dovetail(before, "submit", "streaming")
        shop.dovetail(before, "live", "g1")
        loaded = config.load("local", "serving", tuple(shop.settings))
        command = submit.render(loaded, "serving", before)
        serving.start([sys.executable, *command.argv[1:]], cwd=before)
        first = totals(OLD, shop.sent)
        wait_until(lambda: all(same(shop.ask(v), first[f"u{v}"]) for v in range(VISITORS)), 90, "the old numbers")
        first_as_new = totals(NEW, shop.sent)

        plan = shop.dovetail(after, "stream", "upgrade", "--dry-run")
        assert plan.splitlines()[0] == "feature groups: changed: activity"
        assert flink_cluster.rest.jobs() and shop.ask(0) is not None, "a dry run does nothing"

        stop = threading.Event()
        answers: list[tuple[int, dict[str, Any]]] = []

        def ask_all() -> None:
            while not stop.is_set():
                for visitor in range(VISITORS):
                    found = shop.ask(visitor)
                    if found is not None:
                        answers.append((visitor, found))

        asking = threading.Thread(target=ask_all, daemon=True)
        sending = threading.Thread(target=shop.send, args=(EACH, EACH, 1.0))
        asking.start()
        sending.start()
        try:
            shop.dovetail(after, "stream", "upgrade")
        finally:
            sending.join()
            last = totals(NEW, shop.sent)
            wait = lambda: all(same(shop.ask(v), last[f"u{v}"]) for v in range(VISITORS))  # noqa: E731
            wait_until(wait, 60, "the new numbers")
            stop.set()
            asking.join()

        last_as_old = totals(OLD, shop.sent)
        kinds = {"shares" in found for _, found in answers}
        assert kinds == {False, True}, "both were asked while it happened"
        for visitor, found in answers:
            name = f"u{visitor}"
            low, high = (first_as_new, last) if "shares" in found else (first, last_as_old)
            for column in low[name]:
                assert low[name][column] <= found[column] <= high[name][column], (visitor, column, found)
        turned = ["shares" in found for _, found in answers]
        assert turned == sorted(turned), "once new, an answer is never old again"

        running = shop.dovetail(after, "stream", "status").split()
        assert running[0] == "g2" and "g1" not in running
        session = connect(shop.spec)
        try:
            pointer = read_pointer(session, "speed")
            assert pointer is not None and (pointer.live, pointer.previous) == ("g2", ("g1",))
            shop.dovetail(after, "stream", "drop", "g1")
            query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s"
            names = {row.table_name for row in session.execute(query, (shop.spec.keyspace,))}
            assert "tiles_activity_v2_g2" in names and not [name for name in names if name.endswith("_g1")]
        finally:
            disconnect(session)
        archive = tmp_path / "archive" / "events"
        wait_until(lambda: len(set(positions(archive))) == len(shop.sent), 60, "every record in the archive of both")
        shop.dovetail(after, "stream", "stop", "g2")


def positions(folder: Path) -> list[tuple[int, int]]:
    """Partition and offset of every archived event."""
    return [(row["partition"], row["offset"]) for row in archived(folder)]


def same(found: Mapping[str, Any] | None, want: Mapping[str, int]) -> bool:
    """Whether an answer has these counts."""
    return found is not None and all(found.get(name) == value for name, value in want.items())


def wait_until(what: Any, limit: float, waiting_for: str) -> None:
    """Wait for a condition; fails naming it."""
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline, f"waited {limit:.0f} s for {waiting_for}"
        time.sleep(0.5)
