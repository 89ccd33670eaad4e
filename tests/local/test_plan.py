"""A real file is split into history and a live rest, and shifted by whole days into the recent past."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import MissingRequirement
from common.features.windows import DAY_MS, HOUR_MS
from local.demo.plan import ONLINE_RETAIL, SETTLED_MS, plan_file, simulated_cuts

NOW = int(datetime(2026, 3, 5, 13, 37, tzinfo=UTC).timestamp() * 1000)
HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def test_simulated_cuts_are_a_day_apart_and_settled():
    for offset in range(0, DAY_MS, HOUR_MS):
        history, cut = simulated_cuts(NOW + offset)
        assert cut - history == DAY_MS
        assert cut % DAY_MS == 0
        assert SETTLED_MS <= NOW + offset - cut < SETTLED_MS + DAY_MS


def test_a_file_of_hours_keeps_its_last_hour_live(tmp_path):
    file = tmp_path / "rees46.csv"
    rows = [f"2019-10-01 0{h}:{m:02}:00 UTC,view,1,2,a.b,x,1.0,7,s\n" for h in range(3) for m in (0, 50)]
    file.write_text(HEADER + "".join(rows) + "2019-10-01 02:55:00 UTC,view,127183")
    plan = plan_file(file, NOW)
    assert plan.format == "rees46"
    assert plan.cut_ms - plan.history_cut_ms == HOUR_MS
    assert plan.history_cut_ms % DAY_MS == 2 * HOUR_MS
    assert SETTLED_MS <= NOW - plan.cut_ms < SETTLED_MS + DAY_MS


def test_a_file_of_months_keeps_its_last_day_live(tmp_path):
    file = tmp_path / "retail.parquet"
    times = [datetime(2010, 12, 1, 8, 26) + timedelta(days=d) for d in range(374)]
    columns = {name: pa.array(["1"] * len(times)) for name in ONLINE_RETAIL}
    pq.write_table(pa.table(columns | {"InvoiceDate": pa.array(times, pa.timestamp("us"))}), file)
    plan = plan_file(file, NOW)
    assert plan.cut_ms - plan.history_cut_ms == DAY_MS
    assert (plan.cut_ms % DAY_MS, plan.shift_days) == (0, 5199)
    assert "5,199 whole days" in plan.title


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "a,b\n1,2\n", "has no column event_time"),
        ("x.txt", "", "neither .parquet nor .csv"),
        (None, "", "is not a file"),
    ],
)
def test_other_files_are_refused_with_the_remedy(tmp_path, name, text, message):
    path = tmp_path / (name or "missing.csv")
    if name:
        path.write_text(text)
    with pytest.raises(MissingRequirement, match=message):
        plan_file(path, NOW)
