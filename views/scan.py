"""Full scans by token range: each row of a table exactly once, split for as many readers as one likes."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from cassandra.cluster import Session

from views.schema import Table, identifier

MIN_TOKEN = -(2**63)
MAX_TOKEN = 2**63 - 1
PAGE_ROWS = 2_000
PAGE_TIMEOUT_S = 30.0


class TokenRange(NamedTuple):
    """Rows whose partition's token lies in (low, high]."""

    low: int
    high: int


def token_ranges(splits: int) -> list[TokenRange]:
    """``splits`` ranges that cover every token once. No partition has the smallest token: Murmur3 never gives it."""
    if splits < 1:
        raise ValueError(f"{splits} splits read nothing: use at least 1")
    width = MAX_TOKEN - MIN_TOKEN
    borders = [MIN_TOKEN + width * i // splits for i in range(splits + 1)]
    return [TokenRange(low, high) for low, high in zip(borders, borders[1:], strict=False)]


def scan_range(
    session: Session, table: Table, columns: Sequence[str], low: int, high: int, page_rows: int = PAGE_ROWS
) -> Iterator[tuple[Any, ...]]:
    """The rows of one token range (low, high], paged, as tuples in the order of ``columns``."""
    chosen = ", ".join(identifier(table.view.contract.field(name).name) for name in columns)
    keys = ", ".join(identifier(name) for name in table.view.partition_key)
    cql = f"SELECT {chosen} FROM {table.qualified(session.keyspace)} WHERE token({keys}) > ? AND token({keys}) <= ?"
    bound = session.prepare(cql).bind((low, high))
    bound.fetch_size = page_rows
    for row in session.execute(bound, timeout=PAGE_TIMEOUT_S):
        yield tuple(row)


def scan(session: Session, table: Table, columns: Sequence[str], splits: int = 8) -> Iterator[tuple[Any, ...]]:
    """Every row of the table, one range after the other."""
    for low, high in token_ranges(splits):
        yield from scan_range(session, table, columns, low, high)


def count_rows(session: Session, table: Table, splits: int = 8) -> int:
    """How many rows the table holds."""
    key = table.view.partition_key[:1]
    return sum(1 for _ in scan(session, table, key, splits))


class Digest(NamedTuple):
    """Rows of a table and the sum of their hashes: equal tables give equal digests, in whatever order they are read."""

    rows: int
    sha256_sum: str


def digest(
    session: Session, table: Table, columns: Sequence[str] | None = None, splits: int = 8, where: Any = None
) -> Digest:
    """The digest over all columns (or those named) of all rows (or those that ``where(row_tuple)`` accepts).

    TTL and write time are no part of it.
    """
    names = tuple(columns or table.view.columns)
    with ThreadPoolExecutor(max_workers=2) as pool:
        parts = pool.map(lambda r: _digest_range(session, table, names, r, where), token_ranges(splits))
        total, rows = 0, 0
        for part, count in parts:
            total = (total + part) % 2**256
            rows += count
    return Digest(rows, f"{total:064x}")


def _digest_range(
    session: Session, table: Table, names: Sequence[str], token_range: TokenRange, where: Any
) -> tuple[int, int]:
    total, rows = 0, 0
    for row in scan_range(session, table, names, *token_range):
        if where is None or where(row):
            total += int.from_bytes(hashlib.sha256(row_bytes(row)).digest())
            rows += 1
    return total, rows


def row_bytes(row: Sequence[Any]) -> bytes:
    """A row as bytes that depend on its values alone."""
    return msgspec.msgpack.encode([_plain(value) for value in row])


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        # 1.50 and 1.5 are one amount, whichever scale they were stored with.
        return ["decimal", format(value.normalize(), "f") if value else "0"]
    if isinstance(value, dict):
        return [[key, _plain(value[key])] for key in sorted(value)]
    if hasattr(value, "items"):  # the driver's OrderedMap
        return [[key, _plain(item)] for key, item in sorted(value.items())]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value
    return str(value)
