"""The streaming application: raw events in Kafka to speed views in Cassandra.

    flink run -d -m HOST:PORT -C file:///.../flink-sql-connector-kafka.jar \\
        -pyfs dist/dovetail.zip -py streaming/run.py --kafka HOST:PORT --cassandra HOST:PORT --generation g1 ...

    1  events (Kafka, raw)   sources.py    bytes, Kafka timestamp, partition, offset; watermark per partition
    2  admit                 admit.py      Python, vectorised: event with pseudonyms, or rejection with its bytes
       |- 3  rejections      admit.py      topic events.rejected, and files
       |- 4  archive         archive.py    every admitted event, as files for batch
       |- 4a triggers        triggers.py   interval join: starts that nothing awaited followed, to the topic triggers
    5  deduplicate           dedup.py      first arrival of each event_id within 48 h
       |- 6  other tiles     features.py   groups by item: one chain and one writer for each key
       |     what follows    previous.py   MATCH_RECOGNIZE by visitor: the item before, for groups that read it
       |- 7  closed sessions sessions.py   SESSION window on the watermark, one writer
    8  tiles                 features.py   OVER (visitor, tile): one step for each kind of tile of the visitor
    9  open session          sessions.py   OVER (visitor): previous event, start; OVER (visitor, start): the rest
   10  history               history.py    OVER (visitor): the count of item events
   11  write                 write.py      Python, vectorised: folds in, one batch of writes per visitor
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyflink.table import StatementSet, StreamTableEnvironment, Table

from common.errors import ConfigError, run_main
from common.features.expressions import PREVIOUS_ITEM
from common.features.groups import GROUPS, FeatureGroup
from common.features.windows import DAY_MS, HORIZON_MS, MINUTE_MS, SECOND_MS, duration_ms
from common.log import event, get, setup
from common.sessions import SESSION_GAP_MS
from common.triggers import RULES, AbsenceRule, rules_with
from streaming.admit import Gate, admit, admitted, insert_rejections, rejected
from streaming.archive import insert_archive, insert_rejection_archive
from streaming.dedup import deduplicate
from streaming.features import VISITOR, add_tiles, chains, event_columns, tiles
from streaming.flink.environment import Settings, table_environment
from streaming.flink.faults import Fault
from streaming.flink.running import refuse_twice
from streaming.flink.sources import RawTopic, read_topic
from streaming.history import EVENT_COLUMNS as HISTORY_COLUMNS
from streaming.history import add_history
from streaming.names import OUTPUTS, SHARED, consumer_group, job_name, overlap, unit
from streaming.previous import with_previous
from streaming.sessions import EVENT_COLUMNS as SESSION_COLUMNS
from streaming.sessions import add_open_sessions, closed_sessions
from streaming.takeover import TakeOver
from streaming.triggers import absences, insert_triggers
from streaming.write import Target, insert_closed_sessions, insert_tiles, insert_visitors
from views.connect import ClusterSpec, connected, ensure_keyspace
from views.tables import SPEED, SPEED_TTL_S, create_tables, tables_of
from views.versions import Generations, find_version

LATENESS_MS = 10 * MINUTE_MS

log = get("streaming")


@dataclass(frozen=True)
class Args:
    """What the application is told."""

    raw: RawTopic
    gate: Gate
    target: Target
    settings: Settings
    rejected_topic: str = ""
    """Empty: rejections go to the archive alone."""
    triggers_topic: str = ""
    """Empty: no absence is looked for."""
    rules: tuple[AbsenceRule, ...] = RULES
    """The absences that are looked for."""
    archive: str = ""
    """Empty: nothing is archived, for a replay of what already was."""
    archive_parallelism: int = 1
    """Of the steps that write the archive; it stays while a generation lives, also when the job is rescaled."""
    take_over: TakeOver = TakeOver()
    """From where on there are archive, rejections and triggers."""
    outputs: tuple[str, ...] = OUTPUTS
    """What this application writes; others of the same generation write the rest."""
    lateness_ms: int = LATENESS_MS
    gap_ms: int = SESSION_GAP_MS

    @property
    def archives(self) -> bool:
        """Whether it writes files."""
        return bool(self.archive) and "archive" in self.outputs

    @property
    def rejects(self) -> bool:
        """Whether it writes rejections to their topic."""
        return bool(self.rejected_topic) and "rejected" in self.outputs

    @property
    def watches(self) -> bool:
        """Whether it looks for timed absences."""
        return bool(self.triggers_topic) and "triggers" in self.outputs

    @property
    def shared(self) -> tuple[str, ...]:
        """What it puts out from the beginning that is no generation's own; a take-over begins where the other ends."""
        if self.take_over:
            return ()
        emits = {"archive": self.archives, "rejected": self.rejects, "triggers": self.watches}
        return tuple(name for name in SHARED if emits[name])


@dataclass(frozen=True)
class Steps:
    """The views of the application, each a step's result."""

    rejections: Table
    events: Table
    """Admitted, duplicates included."""
    once: Table
    """Each event once, within the horizon."""
    tiles: dict[str, Table]
    """Of the groups with another key than the visitor, by key."""
    closed: Table
    triggers: Table | None
    """Absences that fired; None where none are looked for."""
    visitors: Table
    """Events with the tiles, open session and history of their visitor."""


def compose(t_env: StreamTableEnvironment, raw: Table, args: Args) -> Steps:
    """The steps from the raw records (value, kafka_ms, topic, partition, offset) to what is written."""
    judged = admit(t_env, raw, args.gate, args.lateness_ms)
    events = admitted(t_env, judged)
    groups = list(GROUPS.values())
    needed = {*event_columns(groups), *SESSION_COLUMNS, *HISTORY_COLUMNS, "late"} - {PREVIOUS_ITEM}
    once = deduplicate(t_env, events, sorted(needed))
    by_key = chains(groups)
    chain = add_tiles(t_env, once, by_key.pop(VISITOR))
    return Steps(
        rejections=rejected(t_env, judged),
        events=events,
        once=once,
        tiles={key: tiles(t_env, _read_by(t_env, once, found, args.gap_ms), found) for key, found in by_key.items()},
        closed=closed_sessions(t_env, once, args.gap_ms),
        triggers=absences(t_env, events, args.rules, args.lateness_ms, args.take_over.kafka_ms)
        if args.watches
        else None,
        visitors=add_history(t_env, add_open_sessions(t_env, chain, args.gap_ms)),
    )


def _read_by(t_env: StreamTableEnvironment, once: Table, groups: list[FeatureGroup], gap_ms: int) -> Table:
    """The events as groups of one key read them."""
    if not any(group.sequential for group in groups):
        return once
    return with_previous(t_env, once, event_columns(groups), gap_ms)


def build(t_env: StreamTableEnvironment, args: Args) -> StatementSet:
    """All inserts as one statement set; nothing is executed."""
    steps = compose(t_env, read_topic(t_env, args.raw), args)
    inserts = []
    servers, job = args.raw.servers, args.settings.job_name
    transactional = bool(args.settings.checkpoint_interval_ms)
    reached = args.take_over.reached()
    rejections = t_env.sql_query(f"SELECT * FROM {steps.rejections} WHERE {reached}")
    if args.rejects:
        prefix = f"{job}-rejected" if transactional else None
        inserts.append(insert_rejections(t_env, rejections, servers, args.rejected_topic, prefix))
    if steps.triggers is not None:
        prefix = f"{job}-triggers" if transactional else None
        inserts.append(insert_triggers(t_env, steps.triggers, servers, args.triggers_topic, prefix))
    if args.archives:
        events = t_env.sql_query(f"SELECT * FROM {steps.events} WHERE {reached}")
        inserts.append(insert_archive(t_env, events, args.archive, args.archive_parallelism))
        inserts.append(insert_rejection_archive(t_env, rejections, args.archive, args.archive_parallelism))
    by_key = chains(GROUPS.values())
    if "items" in args.outputs:
        for key, table in steps.tiles.items():
            inserts.append(insert_tiles(t_env, table, by_key[key], args.target))
    if "sessions" in args.outputs:
        inserts.append(insert_closed_sessions(t_env, steps.closed, args.target))
    if "visitors" in args.outputs:
        inserts.append(insert_visitors(t_env, steps.visitors, by_key[VISITOR], args.target))
    if not inserts:
        raise ConfigError(f"--outputs {','.join(args.outputs)} has nothing to write: give --archive or a topic, too")
    statements = t_env.create_statement_set()
    for insert in inserts:
        statements.add_insert_sql(insert)
    return statements


def prepare_views(
    spec: ClusterSpec, generation: str, created_ms: int | None, start: str, take_over: str | None = None
) -> tuple[str, int, str]:
    """Create the generation's tables; its name, its creation, and from where on it emits what is no view.

    ``new`` claims the next name. What is not given is what the register of versions says; with ``created_ms`` it is not
    asked. Raises ViewMissing for a name that was never claimed.
    """
    ensure_keyspace(spec)
    with connected(spec) as session:
        if generation == "new":
            kind, _, at = start.partition(":")
            made = Generations(session).create(int(at) if kind == "timestamp" else None, take_over or "")
            generation, created_ms = made.name, made.created_ms
        elif created_ms is None:
            found = find_version(session, "speed", generation)
            created_ms = found.created_ms
            take_over = found.info.get("take_over") if take_over is None else take_over
        create_tables(session, tables_of(SPEED.values(), generation).values())
        return generation, created_ms, take_over or ""


def span(text: str) -> int:
    """Milliseconds of ``"10 minutes"``, ``"8 days"`` or a plain number of milliseconds."""
    return int(text) if text.isdigit() else duration_ms(text)


def chosen(text: str) -> tuple[str, ...]:
    """Outputs by name, in their order; an empty text is all of them."""
    names = {name.strip() for name in text.split(",") if name.strip()} or set(OUTPUTS)
    if unknown := names - set(OUTPUTS):
        raise argparse.ArgumentTypeError(f"there is no output {sorted(unknown)[0]}: choose among {', '.join(OUTPUTS)}")
    return tuple(name for name in OUTPUTS if name in names)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of writers: give 1 or more")
    return int(text)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; durations are spans such as "10 minutes", or milliseconds."""
    parser = argparse.ArgumentParser(
        prog="streaming/run.py", description="The speed layer of Dovetail.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--kafka", required=True, metavar="HOST:PORT")
    add("--topic", default="events")
    add("--rejected-topic", default="events.rejected", help='"" writes rejections to the archive alone')
    add("--triggers-topic", default="", help="topic of timed absences; none: they are not looked for")
    add("--triggers", default="", help="more rules, or other ones of a declared name, by comma (common/triggers.py)")
    add(
        "--outputs", type=chosen, default=OUTPUTS, help=f"some of {','.join(OUTPUTS)}; another application has the rest"
    )
    add(
        "--take-over",
        metavar="PARTITION=OFFSET,...@MS",
        help="archive, rejections and triggers begin there, as a generation does that takes over from one that runs; "
        "by default the register is asked",
    )
    add("--group", default="", help="consumer group whose offsets are committed; default: one of its own")
    add("--start", default="earliest", help="earliest, latest, group, timestamp:MS or offsets:PARTITION=OFFSET,...")
    add("--bounded", action="store_true", help="end where the topic ends when the job begins")
    add("--archive", default="", metavar="DIR", help="folder or URI of the archive; none: nothing is archived")
    add(
        "--archive-parallelism",
        type=_at_least_one,
        default=1,
        help="writers of the archive; stays as it is while the generation lives, also when the job is rescaled",
    )
    add("--cassandra", required=True, metavar="HOST:PORT")
    add("--keyspace", default="dovetail")
    add("--cassandra-user-env", default="", metavar="NAME")
    add("--cassandra-password-env", default="", metavar="NAME")
    add("--generation", required=True, help="a claimed generation of the speed views, or new")
    add("--generation-created-ms", type=int, default=None, help="its creation; by default the register is asked")
    add("--models", default="", metavar="DIR", help="folder of model artefacts; default: the URI in the pointer")
    add("--pseudonym-key-env", default="DOVETAIL_PSEUDONYM_KEY", metavar="NAME")
    add("--pseudonym-key-id", default="k1")
    add("--max-age", type=span, default=None, help="reject events older than this at their Kafka timestamp")
    add("--lateness", type=span, default=LATENESS_MS, help="an event that took longer to come is late")
    add("--gap", type=span, default=SESSION_GAP_MS, help="silence that ends a session")
    add("--view-ttl", type=span, default=SPEED_TTL_S * SECOND_MS, help="lifetime of a speed row; 0: for ever")
    add("--state-ttl", type=span, default=8 * DAY_MS, help="lifetime of state; must exceed --view-ttl")
    add("--idle", type=span, default=30 * SECOND_MS, help="a partition silent for so long holds no session open")
    add("--align", type=span, default=0, help="read no partition further ahead of the slowest than this; 0: no bound")
    add("--parallelism", type=int, default=None)
    add("--checkpoints", default=None, metavar="DIR")
    add("--checkpoint-interval", type=span, default=10 * SECOND_MS, help="0: no checkpoints")
    add("--state-backend", choices=("hashmap", "rocksdb"), default=None)
    add("--restart-attempts", type=int, default=1_000_000, help="0: the first failure ends the job")
    add("--restart-delay", type=span, default=SECOND_MS)
    add("--bundle-time", type=span, default=50, help="how long a Python operator waits to fill a bundle")
    add("--arrow-batch", type=int, default=2_000, help="rows of one call of a vectorised function")
    add(
        "--write-deadline", type=span, default=5 * MINUTE_MS, help="how long a write is tried before the job fails over"
    )
    add("--jars", default="", help="connector jars of a local run, separated by commas")
    add("--flink", action="append", default=[], metavar="KEY=VALUE", help="a setting of Flink's own; repeatable")
    add(
        "--fault",
        default="",
        metavar="SPEC",
        help="tests only: make a writer raise in mid-batch (streaming/flink/faults.py)",
    )
    add("--explain", action="store_true", help="print the plan and run nothing")
    return parser.parse_args(argv)


def arguments(given: argparse.Namespace, generation: str, created_ms: int, take_over: str = "") -> Args:
    """The typed arguments; raises ConfigError where two of them contradict."""
    if given.lateness > HORIZON_MS:
        raise ConfigError(f"--lateness is above the horizon of {HORIZON_MS} ms, beyond which events reach batch alone")
    if given.state_ttl <= max(given.view_ttl, HORIZON_MS):
        raise ConfigError(
            "--state-ttl must exceed --view-ttl and 48 hours: a count must not restart under a living row"
        )
    if given.triggers and not given.triggers_topic:
        raise ConfigError("--triggers gives rules, but no topic for what fires: give --triggers-topic")
    name = unit(generation, given.outputs)
    overrides = dict(pair.split("=", 1) for pair in given.flink if "=" in pair)
    if len(overrides) != len(given.flink):
        raise ConfigError("--flink takes KEY=VALUE, each key once")
    return Args(
        raw=RawTopic(
            servers=given.kafka,
            topic=given.topic,
            group=given.group or consumer_group(name),
            start=given.start,
            bounded=given.bounded,
            align_ms=given.align,
        ),
        gate=Gate(given.pseudonym_key_env, given.pseudonym_key_id, given.max_age),
        target=Target(
            spec=_spec(given),
            generation=generation,
            created_ms=created_ms,
            ttl_s=given.view_ttl // SECOND_MS,
            gap_ms=given.gap,
            models=given.models,
            deadline_s=given.write_deadline / SECOND_MS,
            fault=Fault.parse(given.fault) if given.fault else None,
        ),
        settings=Settings(
            parallelism=given.parallelism,
            # a folder for each application, so that its newest state is found
            checkpoints=given.checkpoints and f"{given.checkpoints.rstrip('/')}/{name}",
            checkpoint_interval_ms=given.checkpoint_interval or None,
            state_ttl_ms=given.state_ttl,
            state_backend=given.state_backend,
            idle_ms=given.idle,
            bundle_ms=given.bundle_time,
            arrow_batch=given.arrow_batch,
            restart_attempts=given.restart_attempts,
            restart_delay_ms=given.restart_delay,
            job_name=job_name(given.keyspace, name),
            jars=tuple(jar for jar in given.jars.split(",") if jar),
            overrides=overrides,
        ),
        rejected_topic=given.rejected_topic,
        triggers_topic=given.triggers_topic,
        rules=rules_with(text for text in given.triggers.split(",") if text.strip()),
        archive=given.archive,
        archive_parallelism=given.archive_parallelism,
        take_over=TakeOver.parse(take_over),
        outputs=given.outputs,
        lateness_ms=given.lateness,
        gap_ms=given.gap,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Create the generation's tables, compose the steps and run them; a local run waits for the end."""
    setup()
    given = parse(sys.argv[1:] if argv is None else argv)
    Gate(given.pseudonym_key_env, given.pseudonym_key_id).policy()  # a missing key is told here, not by a worker
    if given.explain:
        known = given.generation, given.generation_created_ms or 0, given.take_over or ""
    else:
        known = prepare_views(_spec(given), given.generation, given.generation_created_ms, given.start, given.take_over)
    generation = known[0]
    args = arguments(given, *known)
    t_env = table_environment(args.settings)
    if not given.explain:
        own = unit(generation, args.outputs)
        refuse_twice(t_env, args.settings.job_name, lambda job: overlap(given.keyspace, job, own, args.shared))
    statements = build(t_env, args)
    if given.explain:
        print(statements.explain())
        return 0
    result = statements.execute()
    client = result.get_job_client()
    event(log, "submitted", generation=generation, job=str(client.get_job_id()) if client else "")
    if t_env.get_config().get("execution.target", "local") == "local":
        result.wait()  # the cluster lives in this process
    return 0


def _spec(given: argparse.Namespace) -> ClusterSpec:
    return ClusterSpec.parse(given.cassandra, given.keyspace, given.cassandra_user_env, given.cassandra_password_env)


if __name__ == "__main__":
    sys.exit(run_main(main))
