"""Each expression and each aggregate means the same in Python, Spark and Flink: the same rows, the same values.

Rows and expressions are made once, from one seed (`DOVETAIL_SEED`); Python's values are the yardstick. Spark and Flink
get everything in one job each, since starting a job costs more than a thousand expressions.
"""

import json
import os
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.contracts.core import BOOLEAN, DOUBLE, LONG, STRING, Field, Kind
from common.contracts.events import EVENT_TYPES, EVENTS, MONEY
from common.features.algebra import Aggregate, count, decayed, latest, maximum, minimum, total
from common.features.expressions import PREVIOUS_ITEM, Constant, Expr, Mapped, event
from common.features.groups import GROUPS, FeatureGroup, feature_group
from common.features.tiles import fold
from common.features.windows import DAY_MS, HOUR_MS
from common.rules import RULES as ROW_RULES
from common.segments import RULES

SEED = int(os.environ.get("DOVETAIL_SEED", "20261121"))
"""Of all rows and expressions: another value tries others."""
ROWS = 250
ROWS_OF = EVENTS.with_fields("rows", Field(PREVIOUS_ITEM, STRING))
"""Events with what groups may read besides."""
EXPRESSIONS = 90
PATTERNS = 30
TIMES = ("", "", "", "?", "*", "+", "{2}", "{1,}", "{0,3}")
START = 20_000 * DAY_MS

# Texts that engines quote, fold and order differently where they may: quotes, case, accents, the empty text, and
# characters beyond UTF-16's first plane: U+1F600 sorts after U+FFFD by code point (Python, Spark), before it in Flink.
# A line break at the end is where a dollar would still match.
TEXTS = [
    "a\n",
    "a\nb",
    "",
    "a",
    "A",
    "ab",
    "b",
    "it's",
    "é",
    "z",
    "\ufffd",
    "\U0001f600",
    "tech.phones",
    "unknown",
    "'",
    "%",
    "0",
]
LITERALS = [text for text in TEXTS if "\n" not in text]


def make_rows(rng: random.Random) -> list[dict[str, Any]]:
    """Events of every type, nulls in every nullable field, values at the borders of what admission lets in."""

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.2 else value

    prices = ["0.0000", "0.0001", "0.5000", "12.1000", "999999999.9999", "1000000000.0000"]
    rows = []
    for i in range(ROWS):
        row: dict[str, Any] = dict.fromkeys(ROWS_OF.names)
        row |= {
            "event_id": f"e{i:04d}",
            "event_type": rng.choice(sorted(EVENT_TYPES)),
            "visitor_id": rng.choice(["v1", "v2", "v3"]),
            "item_id": maybe(rng.choice(TEXTS[:8])),
            "category": rng.choice(["unknown", "tech.phones", "é"]),
            "price": maybe(Decimal(rng.choice([*prices, f"{rng.randrange(10**6)}.{rng.randrange(10**4):04d}"]))),
            "currency": maybe("GBP"),
            "quantity": maybe(rng.choice([1, 2, 7, 1_000_000, rng.randrange(1, 1_000_000)])),
            "order_id": maybe(rng.choice(TEXTS)),
            "line": maybe(rng.choice([1, 1, 2, 1_000_000])),
            "query": maybe(rng.choice(TEXTS)),
            "value": maybe(rng.choice([0.0, -0.0, 0.1, 0.2, 1e-300, -1e12, 1e12, 4.35, rng.uniform(-100, 100)])),
            # Tile borders and just beside them, five hours over two days.
            "event_ms": START
            + rng.choice([0, 1, HOUR_MS - 1, HOUR_MS, 23 * HOUR_MS, DAY_MS - 1, DAY_MS, rng.randrange(2 * DAY_MS)]),
            "ingest_ms": START + 3 * DAY_MS,
            "device": maybe(rng.choice(["phone", "desk"])),
            "country": maybe(rng.choice(["GB", "gb", "XQ", "United Kingdom"])),
            PREVIOUS_ITEM: maybe(rng.choice(TEXTS[:8])),
        }
        rows.append(row)
    return rows


class Maker:
    """Makes well-typed expressions within the bounds where none of the engines' types overflows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def make(self, kind: Kind, depth: int) -> Expr:
        return getattr(self, f"_{kind.name}")(depth)

    def _string(self, depth: int) -> Expr:
        return self.rng.choice(
            [
                event.type,
                event.item_id,
                event.category,
                event.query,
                event.order_id,
                Constant(self.rng.choice(LITERALS)),
            ]
        )

    def _long(self, depth: int) -> Expr:
        small = [event.quantity, event.line, event.weight, Constant(self.rng.randint(-9, 9)), self._mapped()]
        if depth <= 0:
            return self.rng.choice([*small, event.time])
        left, right = self.rng.choice(small), self.rng.choice(small)
        match self.rng.randrange(4):
            case 0:
                return left * right
            case 1:
                return self._long(depth - 1) - right
            case 2:
                return self._long(depth - 1) + left
            case _:
                return event.time - Constant(START)

    def _mapped(self) -> Expr:
        return Mapped(event.category, (("é", 3), ("unknown", -1), ("it's", 7)), self.rng.choice([0, 5]))

    def _decimal(self, depth: int) -> Expr:
        constant = Constant(self.rng.choice([Decimal("0.5"), Decimal("-12.25"), Decimal("3"), Decimal("0.0001")]))
        if depth <= 0:
            return self.rng.choice([event.price, constant])
        small = self.rng.choice([event.quantity, event.line, event.weight, Constant(self.rng.randint(-3, 3))])
        match self.rng.randrange(4):
            case 0:
                return event.price * small
            case 1:
                return self._decimal(depth - 1) + small
            case 2:
                return self._decimal(depth - 1) - self._decimal(0)
            case _:
                return small - event.price * Constant(Decimal(2))

    def _double(self, depth: int) -> Expr:
        leaf = [event.value, Constant(self.rng.choice([0.1, -2.5, 1e-07, 1e22, 0.0, 4.35]))]
        if depth <= 0:
            return self.rng.choice(leaf)
        other = self.make(self.rng.choice([LONG, MONEY, DOUBLE]), 0)
        left = self._double(depth - 1)
        match self.rng.randrange(3):
            case 0:
                return left * other
            case 1:
                return left + other
            case _:
                return other - left

    def pattern(self, depth: int) -> str:
        """A pattern of the syntax that the engines share, some of them close to the texts."""
        one = [*"abzAit0%' ~", ".", "[a-c]", "[^a]", "[!-~]", "[A-Z_.-]", "[^ -~]", "tech.phones", "it's"]
        if depth <= 0 or self.rng.random() < 0.3:
            parts = self.rng.choices(one, k=self.rng.randint(1, 3))
            return "".join(p + (self.rng.choice(TIMES) if len(p) == 1 or p[0] == "[" else "") for p in parts)
        left, right = self.pattern(depth - 1), self.pattern(depth - 1)
        return self.rng.choice(
            [left + right, f"{left}|{right}", f"({left}|{right})?{right}", f"({left}){{0,2}}", f"({left}){{1}}"]
        )

    def _boolean(self, depth: int) -> Expr:
        if depth > 0 and self.rng.random() < 0.5:
            left, right = self._boolean(depth - 1), self._boolean(depth - 1)
            return self.rng.choice([left & right, left | right, ~left])
        if self.rng.random() < 0.15:
            return self.rng.choice([Constant(True), Constant(False)])
        kinds = (
            [STRING, STRING] if self.rng.random() < 0.4 else [self.rng.choice([LONG, MONEY, DOUBLE]) for _ in range(2)]
        )
        left, right = (self.make(kind, depth - 1) for kind in kinds)
        if left.kind == STRING:  # texts have no order: see test_texts_have_no_order
            pattern = left.matches(self.pattern(2))
            return self.rng.choice([left == right, left != right, left.is_null(), pattern, pattern])
        return self.rng.choice(
            [left == right, left != right, left < right, left <= right, left > right, left >= right, left.is_null()]
        )


def make_expressions(rng: random.Random) -> dict[str, Expr]:
    """The expressions that the row rules and the groups declare, then random ones of every kind."""
    found: list[Expr] = [event.type.is_in("view", "it's", "é"), event.query.is_in("'", "\U0001f600")]
    found += [event.query.matches(p) for p in (".", "a|b", "[^a]+", "(a|it's)b?", "[!-~]{1,2}", ".{0,3}a.*", "[^ -~]")]
    found += [rule.holds for rule in ROW_RULES]
    for group in GROUPS.values():
        found.append(group.where)
        for aggregate in group.aggregates.values():
            found += [aggregate.of, aggregate.where]
    maker = Maker(rng)
    found += [event.query.matches(maker.pattern(2)) for _ in range(PATTERNS)]
    kinds = [BOOLEAN, BOOLEAN, LONG, MONEY, DOUBLE, STRING]
    found += [maker.make(kinds[i % len(kinds)], rng.randint(0, 3)) for i in range(EXPRESSIONS)]
    return {f"x{i}": expression for i, expression in enumerate(found)}


ROW_SET = make_rows(random.Random(SEED))
EXPRESSION_SET = make_expressions(random.Random(SEED))

EXTRA = feature_group(
    "extra",
    key="visitor_id",
    by="event_type",
    tile="1 hour",
    where=event.value.is_null() | (event.value < 50.0) | (event.quantity > 2),
    every=count(),
    none=count(where=event.item_id == "nothing is called so"),
    dear=count(where=event.price > Decimal("99.99")),
    lines=total(event.line, where=event.item_id != "a"),
    money=total(event.price * event.quantity - event.price, where=~(event.type == "view")),
    least=minimum(event.price),
    most=maximum(event.price * event.quantity, where=event.quantity < 1_000_000),
    low=minimum(event.value),
    high=maximum(event.value, where=event.item_id.is_null()),
    fewest=minimum(event.quantity),
    first_seen=minimum(event.time),
    last_price=latest(where=event.price.is_null()),
    fast=decayed(event.weight, half_life="1 minute"),
    slow=decayed(event.weight * event.line, half_life="365 days", where=event.line < 3),
    units=decayed(event.quantity, half_life="3 hours", where=event.type == "purchase"),
)
"""Every kind of aggregate over every kind of value."""

ALL_GROUPS: dict[str, FeatureGroup] = {**GROUPS, "extra": EXTRA}


def expected_values() -> dict[str, dict[str, Any]]:
    return {row["event_id"]: {n: e.evaluate(row) for n, e in EXPRESSION_SET.items()} for row in ROW_SET}


def expected_tiles(group: FeatureGroup) -> dict[tuple[str, int, str], dict[str, Any]]:
    return {
        (key, start, dim): dict(zip(group.columns, (tile.n, *tile.values), strict=True))
        for key, tiles in fold(group, ROW_SET).items()
        for (start, dim), tile in tiles.items()
    }


def assert_same(
    found: Mapping[Any, Mapping[str, Any]], expected: Mapping[Any, Mapping[str, Any]], kinds: Mapping[str, Kind]
) -> None:
    """Row by row, column by column; a decimal is compared as a number, a double to the last bit."""
    assert found.keys() == expected.keys()
    wrong = []
    for key, values in expected.items():
        for name, value in values.items():
            got = found[key][name]
            if value is None or got is None:
                same = got is value
            elif kinds[name].name == "decimal":
                same = Decimal(str(got)) == Decimal(value)
            elif kinds[name].name == "double":
                same = float(got) == value
            else:
                same = type(got) is type(value) and got == value
            if not same:
                wrong.append(f"{key} {name}: expected {value!r}, got {got!r}")
    assert not wrong, f"{len(wrong)} values differ, first:\n" + "\n".join(wrong[:10])


def expression_kinds() -> dict[str, Kind]:
    return {name: expression.kind for name, expression in EXPRESSION_SET.items()}


def tile_kinds(group: FeatureGroup) -> dict[str, Kind]:
    return {"n": LONG} | {name: aggregate.kind for name, aggregate in group.aggregates.items()}


def test_the_rows_and_expressions_cover_the_ground() -> None:
    """Each kind is there, and each outcome of a condition; else the engines' tests would prove little."""
    assert {expression.kind.name for expression in EXPRESSION_SET.values()} == {
        "string",
        "long",
        "double",
        "decimal",
        "boolean",
    }
    values = expected_values()
    outcomes = {v for row in values.values() for n, v in row.items() if EXPRESSION_SET[n].kind == BOOLEAN}
    assert outcomes == {True, False, None}
    for group in ALL_GROUPS.values():
        tiles = expected_tiles(group)
        assert any(tile["n"] > 1 for tile in tiles.values())
        for name in group.aggregates:
            if name != "none":
                assert any(tile[name] not in (None, 0) for tile in tiles.values()), name
    assert {type(a).__name__ for g in ALL_GROUPS.values() for a in g.aggregates.values()} == {
        c.__name__ for c in _leaves(Aggregate)
    }


def _leaves(of: type[Aggregate]) -> Iterator[type[Aggregate]]:
    for sub in of.__subclasses__():
        if not sub.__name__.startswith("_"):
            yield sub
        yield from _leaves(sub)


def test_texts_have_no_order() -> None:
    """Flink orders them by UTF-16 unit, Spark and Python by code point, so no expression may ask for it."""
    for compare in (lambda a, b: a < b, lambda a, b: a <= b, lambda a, b: a > b, lambda a, b: a >= b):
        with pytest.raises(TypeError, match="order"):
            compare(event.query, event.item_id)
    for extreme in (minimum, maximum):
        with pytest.raises(TypeError, match="order"):
            extreme(event.query)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_rules_of_segments_render(rule: Any) -> None:
    assert rule.condition.spark() == rule.condition.flink()


# --- Spark --------------------------------------------------------------------------------------------


@pytest.mark.spark
def test_spark_agrees(spark) -> None:
    from pyspark.sql import functions as f

    from jobs.spark.schema import struct_type

    rows = [tuple(row[name] for name in ROWS_OF.names) for row in ROW_SET]
    events = spark.createDataFrame(rows, struct_type(ROWS_OF)).cache()

    chosen = events.select("event_id", *(f.expr(e.spark()).alias(n) for n, e in EXPRESSION_SET.items()))
    found = {row["event_id"]: row.asDict() for row in chosen.collect()}
    assert_same(found, expected_values(), expression_kinds())

    for group in ALL_GROUPS.values():
        start = f"(`event_ms` - PMOD(`event_ms`, CAST({group.tile_ms} AS BIGINT)))"
        aggregates = [
            f.expr(a.spark(f"({start} + CAST({group.tile_ms} AS BIGINT))")).alias(n)
            for n, a in group.aggregates.items()
        ]
        taken = events.where(f.expr(group.where.spark()) & f.col(group.key).isNotNull())
        keys = [f.col(group.key).alias("key"), f.expr(start).alias("start")]
        keys.append((f.col(group.by) if group.by else f.lit("")).alias("dim"))
        tiles = taken.groupBy(*keys).agg(f.count("*").alias("n"), *aggregates)
        found_tiles = {(r["key"], r["start"], r["dim"]): r.asDict() for r in tiles.collect()}
        assert_same(found_tiles, expected_tiles(group), tile_kinds(group))


# --- Flink --------------------------------------------------------------------------------------------


@pytest.mark.flink
def test_flink_agrees(environment_python, tmp_path: Path) -> None:
    """One streaming job with one source and a sink a question; the running tile's last row is the tile."""
    from streaming.flink.ddl import create_table, flink_type
    from streaming.flink.environment import Settings, table_environment

    source = tmp_path / "events"
    source.mkdir()
    with (source / "part.json").open("w", encoding="utf-8") as lines:
        for row in ROW_SET:
            lines.write(json.dumps(row, default=str) + "\n")
    t_env = table_environment(Settings(parallelism=1, restart_attempts=0, checkpoint_interval_ms=None))
    files = {"connector": "filesystem", "format": "json"}
    t_env.execute_sql(
        create_table(ROWS_OF, "events", {**files, "path": source.as_uri()}, extra=["`arrival` AS PROCTIME()"])
    )
    statements = t_env.create_statement_set()

    def sink(name: str, columns: dict[str, Kind], query: str) -> None:
        body = ", ".join(f"`{column}` {flink_type(kind)}" for column, kind in columns.items())
        path = (tmp_path / name).as_uri()
        t_env.execute_sql(
            f"CREATE TEMPORARY TABLE `{name}` ({body}) WITH ('connector' = 'filesystem', 'format' = 'json', "
            f"'path' = '{path}', 'json.encode.decimal-as-plain-number' = 'true')"
        )
        statements.add_insert_sql(f"INSERT INTO `{name}` {query}")

    # Decimals leave as text: their digits are then compared, not a JSON number's.
    chosen = ", ".join(f"{_as_text(e.flink(), e.kind)} AS `{n}`" for n, e in EXPRESSION_SET.items())
    kinds = {n: STRING if e.kind.name in ("decimal", "double") else e.kind for n, e in EXPRESSION_SET.items()}
    sink("found", {"event_id": STRING, **kinds}, f"SELECT `event_id`, {chosen} FROM events")
    for group in ALL_GROUPS.values():
        span = f"CAST({group.tile_ms} AS BIGINT)"
        dim = f"`{group.by}`" if group.by else "''"
        values = {n: f"{a.flink(f'(`start` + {span})', over='w')}" for n, a in group.aggregates.items()}
        inner = (
            f"SELECT `{group.key}` AS `key`, `start`, `dim`, COUNT(*) OVER w AS `n`, "
            + ", ".join(f"{sql} AS `{n}`" for n, sql in values.items())
            + f" FROM (SELECT *, `event_ms` / {span} * {span} AS `start`, {dim} AS `dim` FROM events"
            f" WHERE {group.where.flink()} AND `{group.key}` IS NOT NULL) WINDOW w AS (PARTITION BY `{group.key}`,"
            " `start`, `dim` ORDER BY `arrival` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        )
        outer = ", ".join(f"{_as_text(f'`{n}`', a.kind)} AS `{n}`" for n, a in group.aggregates.items())
        columns = {n: STRING if a.kind.name in ("decimal", "double") else a.kind for n, a in group.aggregates.items()}
        sink(
            f"tiles_{group.name}",
            {"key": STRING, "start": LONG, "dim": STRING, "n": LONG, **columns},
            f"SELECT `key`, `start`, `dim`, `n`, {outer} FROM ({inner})",
        )
    statements.execute().wait(200_000)

    found = {row["event_id"]: row for row in _read(tmp_path / "found")}
    assert_same(found, expected_values(), expression_kinds())
    for group in ALL_GROUPS.values():
        last: dict[tuple[str, int, str], dict[str, Any]] = {}
        for row in _read(tmp_path / f"tiles_{group.name}"):
            key = (row["key"], row["start"], row["dim"])
            if key not in last or row["n"] > last[key]["n"]:
                last[key] = row
        assert_same(last, expected_tiles(group), tile_kinds(group))


def _as_text(sql: str, kind: Kind) -> str:
    return f"CAST({sql} AS STRING)" if kind.name in ("decimal", "double") else sql


def _read(folder: Path) -> list[dict[str, Any]]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_"))]
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
