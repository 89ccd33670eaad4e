"""What the platform keeps about itself: runs, parity, the pointer to the live views."""

from common.contracts.core import BOOLEAN, DOUBLE, EPOCH_MS, INT, LONG, STRING, Contract, Field, list_of, map_of

RUNS = Contract(
    name="runs",
    version=1,
    key=("run_id", "job"),
    doc="One row a job run.",
    fields=(
        Field("run_id", STRING, nullable=False),
        Field("job", STRING, nullable=False),
        Field("arguments", STRING, nullable=False, doc="JSON"),
        Field("reads", map_of(LONG), nullable=False, doc="Table to Delta version read"),
        Field("writes", map_of(LONG), nullable=False, doc="Table to Delta version written"),
        Field("counts", STRING, nullable=False, doc="JSON: what the job returned"),
        Field("started_ms", EPOCH_MS, nullable=False),
        Field("seconds", DOUBLE, nullable=False),
        Field("outcome", STRING, nullable=False, doc="ok, the error's class, or killed"),
    ),
)

PARITY = Contract(
    name="parity",
    version=1,
    key=("run_id", "subject", "feature"),
    doc="How far what the speed layer wrote agrees with what batch recomputes.",
    fields=(
        Field("run_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("generation", STRING, nullable=False),
        Field("subject", STRING, nullable=False, doc="A feature group, or sessions"),
        Field("feature", STRING, nullable=False, doc="A column of the subject, or * for whole rows"),
        Field("compared", LONG, nullable=False, doc="Rows on either side"),
        Field("equal", LONG, nullable=False),
        Field("missing_in_speed", LONG, nullable=False),
        Field("missing_in_batch", LONG, nullable=False),
        Field("differing", LONG, nullable=False, doc="On both sides, with another value"),
        Field("largest_difference", DOUBLE, nullable=False, doc="0 where the feature is not a number"),
        Field("passed", BOOLEAN, nullable=False),
    ),
)

POINTER = Contract(
    name="view_pointer",
    version=1,
    key=("name",),
    doc="Which batch version and which speed generation are live.",
    fields=(
        Field("name", STRING, nullable=False, doc="batch or speed"),
        Field("live", STRING, nullable=False),
        Field("previous", list_of(STRING), doc="Kept for rollback, newest first"),
        Field("cut_ms", EPOCH_MS, doc="Of the live batch version"),
        Field("model_version", STRING),
        Field("model_uri", STRING, doc="Folder of the model artefact"),
        Field("updated_ms", EPOCH_MS, nullable=False, doc="Wall clock of the flip"),
        Field("serial", INT, nullable=False, doc="Grows with each flip"),
        Field("info", STRING, doc="JSON"),
    ),
)
