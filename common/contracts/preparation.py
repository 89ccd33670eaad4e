"""Prepared features of any table, and what was filled in where a value was missing."""

from common.contracts.core import DOUBLE, EPOCH_MS, LONG, STRING, Contract, Field, list_of

PREPARED = Contract(
    name="prepared",
    version=1,
    key=("name", "row_key"),
    partition_by=("name",),
    doc="Features of a table's rows as a model is trained on them; their names are in the preparation's parameters.",
    fields=(
        Field("name", STRING, nullable=False, doc="The preparation's name"),
        Field("row_key", STRING, nullable=False, doc="The row's key as a JSON list"),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("features", list_of(DOUBLE), nullable=False),
        Field("label", DOUBLE),
    ),
)

FILLS = Contract(
    name="fills",
    version=1,
    key=("table", "column", "row_key"),
    partition_by=("table", "column"),
    doc="What was filled in where a value was missing, and how; the table itself is left as it is.",
    fields=(
        Field("table", STRING, nullable=False),
        Field("column", STRING, nullable=False),
        Field("row_key", STRING, nullable=False, doc="The row's key as a JSON list"),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("table_version", LONG, nullable=False, doc="The version of the table that was read"),
        Field("value", STRING, nullable=False, doc="As text; a number in full precision"),
        Field("method", STRING, nullable=False, doc="mean, median, mode, neighbours or model"),
        Field("parameters", STRING, nullable=False, doc="JSON: what the method was told and found"),
    ),
)
