"""The simulated register: the same each time, duplicates where it says so, and households."""

import pyarrow.compute as pc
import pytest

from common.errors import ConfigError
from local.simulator.customers import COLUMNS, RegisterConfig, register


def test_equal_configuration_gives_equal_rows_and_another_seed_others():
    config = RegisterConfig(rows=500)
    assert register(config).equals(register(config))
    assert not register(config).equals(register(RegisterConfig(rows=500, seed=1)))


def test_so_many_rows_are_further_rows_of_a_person():
    table = register(RegisterConfig(rows=1_000, duplicates=0.2))
    assert table.column_names == list(COLUMNS)
    assert (table.num_rows, len(pc.unique(table["person"])), len(pc.unique(table["customer"]))) == (1_000, 800, 1_000)


def test_further_rows_differ_and_households_share_an_address():
    rows = register(RegisterConfig(rows=2_000)).to_pandas()
    twice = rows[rows.duplicated("person", keep=False)]
    said = [name for name in COLUMNS if name not in ("customer", "person", "updated_ms")]
    assert twice.drop_duplicates(["person", *said]).groupby("person").size().mean() > 1.9
    homes = rows.drop_duplicates("person").groupby(["street_address", "postal_code"]).size()
    assert 0.2 < (homes > 1).mean() < 0.6


def test_a_register_of_nonsense_is_refused():
    with pytest.raises(ConfigError):
        RegisterConfig(duplicates=1.0)
