"""The demo: the whole loop on real engines, and the self-check that its two halves agree.

history file ──▶ import ──▶ nightly chain ──▶ batch views ─┐
                                                           ├──▶ serving ──▶ answers, probes, load
last day ──▶ Kafka (with duplicates, late, poisoned) ──▶ stream ──▶ speed views ─┘
                                                           └──▶ archive ──▶ land ──▶ second night ──▶ parity
"""

import json
import os
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.admission import Policy, policy_from_env, read_rejection
from common.bundle import build
from common.embedding import load_model
from common.errors import MissingRequirement, ServerUnavailable
from common.features.groups import GROUPS
from common.sessions import SESSION_GAP_MS
from local.demo import checks
from local.demo.batch import Batch
from local.demo.load import Answered, for_seconds, open_loop_beside
from local.demo.oracle import Expected, admitted, declared_reasons, expect, own_faults, read_records
from local.demo.plan import Plan, plan_file, simulated_cuts
from local.demo.probes import Clicked, Visitor, probe
from local.demo.screen import Screen
from local.demo.stream import Application, Stream
from local.flink import FlinkSize
from local.guard import guard
from local.memory import PeakMemory
from local.paths import build_dir, project_root
from local.process import running
from local.producer import EventProducer
from local.selfcheck import Report
from local.servers import Platform, Ports
from local.simulator.config import ShopConfig
from local.simulator.faults import Disturbed, FaultConfig, disturb
from local.simulator.record import Record, write_lines
from local.simulator.shop import Shop
from views.connect import ClusterSpec, connected, ensure_keyspace
from views.pointer import read_pointer
from views.scan import Digest, digest, scan
from views.schema import Table
from views.tables import BATCH, SPEED, tables_of

KEY_ENV = "DOVETAIL_PSEUDONYM_KEY"
ANSWER_RATE = 50.0
ANSWER_SECONDS = 15.0
WARM_UP_SECONDS = 3.0
FLIP_RATE = 20.0
PROBES = 320
LANES = 2
PROBED_VISITORS = 3
"""Visitors that must have taken up an item before a probe clicks it."""
SEED = 11
PRESENT = 200
"""Events of present time that follow the replay, so that its sessions are over for the watermark too."""


@dataclass
class Loop:
    """What the steps of one run share."""

    folder: Path
    screen: Screen
    report: Report
    platform: Platform
    spec: ClusterSpec
    batch: Batch
    stream: Stream
    policy: Policy

    @property
    def serving_url(self) -> str:
        """Where serving answers."""
        return self.platform.serving_url


def main(data: Path | None = None, folder: Path | None = None, keep: bool = False) -> int:
    """Run the demo; 0 only where every check passed.

    ``data`` is a real file, None the simulator; ``folder`` takes everything it writes (build/demo); ``keep`` leaves
    the servers running, for the playground.
    """
    screen = Screen()
    report = Report()
    home = (folder or build_dir() / "demo").resolve()
    if started := [server.name for server in running(home / "platform")]:
        raise MissingRequirement(
            f"another demo is at work in {home} ({', '.join(started)}), and this one would delete what it writes: "
            f"wait for its end, or stop it with: dovetail down --folder {home / 'platform'}"
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    os.environ.setdefault(KEY_ENV, secrets.token_hex(32))
    if not keep:
        guard()  # nothing survives, however this process ends
    with PeakMemory() as memory:
        try:
            with _loop(home, screen, report, keep) as loop:
                plan = plan_file(data, _now_ms()) if data else _simulate(home, screen)
                screen.say(f"[bold]{plan.title}[/]")
                _play(loop, plan)
        finally:
            report.require(checks.REQUIRED)
            report.seconds, report.peak_memory_gib = screen.seconds, memory.gib
            report.write(home / "selfcheck.json")
            report.show(screen.console)
    return 0 if report.failed == 0 else 1


@contextmanager
def _loop(folder: Path, screen: Screen, report: Report, keep: bool) -> Iterator[Loop]:
    platform = Platform(folder / "platform", Ports.pick(), FlinkSize(quick=True))
    archive = folder / "archive"
    lake = folder / "lake"
    spec = ClusterSpec.parse(platform.cassandra.address)
    with screen.step("servers"):
        platform.up(screen.say)
    batch: Batch | None = None
    try:
        with screen.step("keyspace and Spark session"):
            ensure_keyspace(spec)
            batch = Batch(
                lake,
                folder / "spark.log",
                screen,
                {
                    "archive": str(archive),
                    "kafka": platform.kafka.address,
                    "cassandra": platform.cassandra.address,
                    "keyspace": spec.keyspace,
                },
            )
        bundle = build(project_root(), folder / "dovetail.zip")
        stream = Stream(platform, spec, bundle, archive, lake / "models")
        yield Loop(folder, screen, report, platform, spec, batch, stream, policy_from_env(KEY_ENV, "k1"))
    finally:
        if batch is not None:
            batch.stop()
        if keep:
            screen.say(
                f"left running: {platform.serving_url}/ ; stop it with: dovetail down --folder {platform.folder}"
            )
        else:
            with screen.step("servers down"):
                platform.down(lambda line: None)


def _simulate(folder: Path, screen: Screen) -> Plan:
    """A simulated month up to the second cut, as one file; its last day is replayed live."""
    history_cut, cut = simulated_cuts(_now_ms())
    with screen.step("simulated shop: a month of events"):
        shop = Shop(ShopConfig(cut_ms=history_cut))
        path = folder / "data" / "events.jsonl"
        count = write_lines(path, shop.records(shop.config.start_ms, cut))
        catalogue = shop.write_catalogue(folder / "data" / "items.parquet")
    title = f"simulated shop, {count:,} events, seed {shop.config.seed}"
    return Plan(title, "events", path, "simulator", 0, history_cut, cut, catalogue)


def _play(loop: Loop, plan: Plan) -> None:
    live_file = loop.folder / "data" / "live.jsonl"
    live_file.parent.mkdir(parents=True, exist_ok=True)
    batch, report = loop.batch, loop.report

    loop.screen.say("[bold]first night: history to batch views[/]")
    imported = batch.import_history(plan, live_file)
    batch.chain(plan.history_cut_ms, plan.catalogue)
    report.add(checks.als_beats_popularity(batch.counts["train_als"]))
    report.add(checks.fold_in_equals_mllib(batch.counts["train_als"]))

    loop.screen.say("[bold]the day: live traffic through the stream[/]")
    sound = read_records(live_file)
    disturbed = disturb(sound, FaultConfig(), plan.cut_ms)
    expected = expect(disturbed, loop.policy)
    with loop.screen.step("stream: flink run"):
        application = loop.stream.submit()
    visitors = _visitors(sound)
    _start_serving(loop, visitors)
    present = _present(admitted(sound, loop.policy), _now_ms())
    _replay(loop, application, disturbed, present)
    loop.stream.make_live(application)
    stored = _stored_activity(loop.spec, application.generation, plan.cut_ms)
    _stream_checks(loop, disturbed, expected, stored)
    with loop.screen.step(f"answers at {ANSWER_RATE:.0f}/s for {ANSWER_SECONDS:.0f} s"):
        paths = [f"/v1/users/{v.raw_id}/recommendations?kind={v.kind}" for v in visitors]
        answered = for_seconds(loop.serving_url, paths, ANSWER_RATE, ANSWER_SECONDS, WARM_UP_SECONDS)
        report.add(checks.answer_latency(answered, ANSWER_RATE))

    loop.screen.say("[bold]second night: what was archived, and a flip under load[/]")
    answered = _second_night(loop, plan, paths)
    report.add(checks.flip_without_failure(answered))
    _batch_checks(loop, plan, imported, expected, disturbed, len(present))
    parity = batch.parity(plan.cut_ms, application.generation)
    report.add(checks.features_parity(parity, [group.table for group in GROUPS.values()]))
    report.add(checks.sessions_parity(parity))

    loop.screen.say("[bold]clicks: each must change the list[/]")
    with loop.screen.step(f"{PROBES} probes"):
        items = _clickable(loop)
        probe(loop.serving_url, visitors, items, 2 * LANES, LANES, SEED - 1)
        report.add(checks.click_changes_list(probe(loop.serving_url, visitors, items, PROBES, LANES, SEED)))

    loop.screen.say("[bold]the same topic again, with fresh state[/]")
    _replay_again(loop, plan, application)


def _clickable(loop: Loop) -> list[Clicked]:
    """Items of the live model that some visitors took up: of others no model of taste knows anything."""
    model = load_model(_model_folder(loop))
    known = loop.batch.items_of_visitors(PROBED_VISITORS)
    return [
        Clicked(item, category)
        for item, category in zip(model.item_ids, model.categories, strict=True)
        if item in known
    ]


def _visitors(records: list[Record]) -> list[Visitor]:
    """Those who came on the live day, the busiest first: at most 100."""
    seen: Counter[Visitor] = Counter()
    for record in records:
        assert record.value is not None, "a record of a file has a value"
        body = json.loads(record.value)
        if body.get("user_id"):
            seen[Visitor(str(body["user_id"]), "user")] += 1
        elif body.get("anonymous_id"):
            seen[Visitor(str(body["anonymous_id"]), "anonymous")] += 1
    return [visitor for visitor, _ in seen.most_common(100)]


def _start_serving(loop: Loop, visitors: list[Visitor]) -> None:
    """Start serving as a process of the platform and wait until it can answer."""
    samples = loop.folder / "data" / "visitors.json"
    samples.write_text(
        json.dumps([{"id": v.raw_id, "kind": v.kind, "label": f"{v.kind} {v.raw_id}"} for v in visitors[:12]])
    )
    platform = loop.platform
    with loop.screen.step("serving"):
        platform.serve(
            [
                *(sys.executable, "-m", "serving", "--port", str(platform.ports.serving)),
                *("--cassandra", platform.cassandra.address, "--keyspace", loop.spec.keyspace),
                *("--kafka", platform.kafka.address, "--lake", str(loop.batch.lake)),
                *("--playground-visitors", str(samples)),
            ]
        )


def _replay(loop: Loop, application: Application, disturbed: Disturbed, present: list[Record]) -> None:
    """Send the day with its own timestamps, then the present; wait until all is written."""
    what = f"replay: {len(disturbed.records):,} records"
    loop.screen.say(f"{disturbed.duplicates} duplicates, {len(disturbed.poisoned)} poisoned, late ones among them")
    with loop.screen.step(what), EventProducer(loop.platform.kafka.address) as producer:
        producer.replay(disturbed.records)
        producer.replay(present)
    with loop.screen.step("stream: catching up"):
        loop.stream.wait_drained(application, loop.screen)


def _present(sound: list[Record], now_ms: int) -> list[Record]:
    """Some of the day's admitted events once more, as new events of now."""
    step = max(1, len(sound) // PRESENT)
    records = []
    for number, record in enumerate(sound[::step][:PRESENT]):
        assert record.value is not None, "a record of a file has a value"
        body = json.loads(record.value) | {"event_id": f"present-{number}", "event_ms": now_ms}
        records.append(replace(record, value=json.dumps(body).encode(), event_ms=now_ms, timestamp_ms=now_ms))
    return records


def _stored_activity(spec: ClusterSpec, generation: str, cut_ms: int) -> dict[tuple[str, int], dict[str, Any]]:
    """The activity tiles that speed stored, before the cut, by visitor and start."""
    group = GROUPS["activity"]
    table = tables_of(SPEED.values(), generation)[group.table]
    columns = ("visitor_id", "tile_start", "n")
    with connected(spec) as session:
        rows = [row for row in scan(session, table, columns) if row[1] < cut_ms]
    return {(visitor, start): {"n": n} for visitor, start, n in rows}


def _stream_checks(
    loop: Loop, disturbed: Disturbed, expected: Expected, stored: dict[tuple[str, int], dict[str, Any]]
) -> None:
    report = loop.report
    natural = own_faults(disturbed.records, [one.record for one in disturbed.poisoned], loop.policy)
    declared = declared_reasons(disturbed, natural)
    found: Counter[str] = Counter()

    def missing() -> str | None:
        found.clear()
        found.update(read_rejection(record).reason for record in loop.stream.rejections())
        left = declared.total() - found.total()
        return f"{left} rejections" if left > 0 else None

    # Readers of the rejections see them only after the checkpoint that committed them.
    try:
        loop.screen.wait("the rejections' transactions", missing, 30)
    except ServerUnavailable as error:
        loop.screen.say(str(error))
    report.add(checks.poison_accounted(declared, found, len(disturbed.poisoned)))
    report.add(checks.duplicates_ignored(expected, stored))
    report.add(checks.late_events_land(expected, disturbed, stored))


def _second_night(loop: Loop, plan: Plan, paths: list[str]) -> Answered:
    """Land, run the chain for the second cut and flip, while requests go on."""
    with open_loop_beside(loop.serving_url, paths, FLIP_RATE) as load:
        loop.batch.land(plan.cut_ms, lambda why: time.sleep(3))
        loop.batch.chain(plan.cut_ms, plan.catalogue)
        time.sleep(3)  # serving looks at the pointer every second
    return load.answered


def _batch_checks(
    loop: Loop, plan: Plan, imported: dict[str, Any], expected: Expected, disturbed: Disturbed, present: int
) -> None:
    batch, report = loop.batch, loop.report
    names = ("bronze/events", "bronze/rejections", "silver/cleansed", "quarantine/events", "silver/events")
    stored = {name: batch.rows(name) for name in names}
    sent, refused = len(disturbed.records) + present, expected.rejections.total()
    report.add(checks.history_accounted(imported, stored, sent - refused, refused))
    purchases, rfm = batch.purchases(plan.cut_ms), batch.rfm()
    report.add(checks.rfm_matches_oracle(purchases, rfm, plan.cut_ms))
    report.add(checks.segments_published(batch.counts["segment"], _published_segments(loop)))
    if plan.format == "online_retail":
        report.add(checks.known_answers(purchases, rfm, imported["exact_duplicate_rows"]))
    if plan.format == "rees46":
        report.add(checks.sessions_match_truth(batch.sessions_and_truth(plan.cut_ms), SESSION_GAP_MS))


def _published_segments(loop: Loop) -> dict[int, tuple[str, int]]:
    with connected(loop.spec) as session:
        pointer = read_pointer(session, "batch")
        if pointer is None:
            return {}
        table = tables_of(BATCH.values(), pointer.live)["segments"]
        return {row[0]: (row[1], row[2]) for row in scan(session, table, ("segment_id", "segment", "size"))}


def _model_folder(loop: Loop) -> Path:
    with connected(loop.spec) as session:
        pointer = read_pointer(session, "batch")
    if pointer is None or not pointer.model_uri:
        raise ServerUnavailable("no batch version with a model is live: the chain did not publish")
    return Path(pointer.model_uri)


def _replay_again(loop: Loop, plan: Plan, application: Application) -> None:
    """Read the topic from its start into a new generation; compare tiles and closed sessions, column by column."""
    loop.stream.wait_drained(application, loop.screen)
    loop.stream.stop(application)
    with loop.screen.step("second generation: flink run"):
        again = loop.stream.submit(archive=False)
    with loop.screen.step("second generation: catching up"):
        loop.stream.wait_drained(again, loop.screen)
    with loop.screen.step("digests"):
        first = _digests(loop.spec, application.generation, plan.cut_ms)
        second = _digests(loop.spec, again.generation, plan.cut_ms)
    loop.report.add(checks.replay_changes_nothing(first, second))
    loop.stream.stop(again)


def _digests(spec: ClusterSpec, generation: str, cut_ms: int) -> dict[str, Digest]:
    """Digests over all columns of the tiles and of the sessions that closed before the cut."""
    tables = tables_of(SPEED.values(), generation)
    sessions = tables["sessions"]
    names = sessions.view.columns
    end, closed = names.index("session_end"), names.index("closed")
    with connected(spec) as session:
        found = {}
        for group in GROUPS.values():
            table = tables[group.table]
            # what follows what is known once the watermark has passed it
            keep = _before(table, cut_ms) if group.sequential else None
            found[table.view.name] = digest(session, table, where=keep)
        found["sessions"] = digest(
            session, sessions, where=lambda row: row[closed] and row[end] + SESSION_GAP_MS < cut_ms
        )
    return found


def _before(table: Table, cut_ms: int) -> Callable[[tuple[Any, ...]], bool]:
    start = table.view.columns.index("tile_start")
    return lambda row: row[start] < cut_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
