"""Token ranges cover everything once; digests see every value and no order."""

from decimal import Decimal
from typing import Any

import pytest
from cassandra.cluster import Session

from common.features.groups import GROUPS
from views.scan import MAX_TOKEN, MIN_TOKEN, count_rows, digest, row_bytes, scan_range, token_ranges
from views.speed import SpeedRows
from views.tables import create_tables
from views.writer import ViewWriter


@pytest.mark.parametrize("splits", [1, 2, 3, 7, 64])
def test_ranges_meet_and_cover_all_tokens(splits: int) -> None:
    ranges = token_ranges(splits)
    assert len(ranges) == splits
    assert ranges[0].low == MIN_TOKEN and ranges[-1].high == MAX_TOKEN
    assert all(a.high == b.low for a, b in zip(ranges, ranges[1:], strict=False))
    assert all(r.low < r.high for r in ranges)


def test_no_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        token_ranges(0)


def test_equal_amounts_have_equal_bytes_and_other_values_have_others() -> None:
    assert row_bytes([Decimal("1.50")]) == row_bytes([Decimal("1.5")])
    assert row_bytes([Decimal("0.00")]) == row_bytes([Decimal("0")])
    assert row_bytes([Decimal("1E+2")]) == row_bytes([Decimal("100")])
    rows: list[list[Any]] = [[1], ["1"], [b"1"], [None], [""], [True], [Decimal("1.5")], [1.5], [["a"]], [{"a": 1}]]
    assert len({row_bytes(row) for row in rows}) == len(rows)
    assert row_bytes([{"b": 1, "a": 2}]) == row_bytes([{"a": 2, "b": 1}])


@pytest.mark.platform
def test_a_scan_meets_every_row_once_and_a_digest_every_value(session: Session) -> None:
    rows = SpeedRows("g1", 0, ttl_s=0)
    create_tables(session, rows.tables.values())
    table = rows.tables["tiles_activity"]
    wanted = {(f"k1_{v}", t * 3_600_000, v + t + 1) for v in range(300) for t in range(4)}
    writer = ViewWriter(session)
    writer.write(
        rows.tile(GROUPS["activity"], {"visitor_id": v, "tile_start": t, "n": n, "spend": Decimal("1.50")})
        for v, t, n in wanted
    )
    found = [
        row
        for low, high in token_ranges(5)
        for row in scan_range(session, table, ("visitor_id", "tile_start", "n"), low, high, page_rows=100)
    ]
    assert sorted(found) == sorted(wanted)
    assert count_rows(session, table) == len(wanted)
    before = digest(session, table, splits=2)
    assert before.rows == len(wanted)
    assert digest(session, table, splits=9) == before
    assert digest(session, table, where=lambda row: row[1] == 0).rows == 300
    one = {"visitor_id": "k1_7", "tile_start": 0, "n": 9, "spend": Decimal("1.51")}
    writer.write([rows.tile(GROUPS["activity"], one)])
    after = digest(session, table)
    assert after.rows == before.rows and after.sha256_sum != before.sha256_sum
