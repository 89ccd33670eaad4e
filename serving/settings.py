"""What the service is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from views.connect import ClusterSpec


@dataclass(frozen=True)
class Weights:
    """How an answer is ranked: ``score = relevance + interest + popularity``, each in [0, 1] times its weight.

    Relevance is the model's score of the item for the folded-in vector, relative to the visitor's best item.
    Interest is the decayed mass of the item's category (half-life 7 days), relative to the visitor's strongest.
    Popularity is the logarithm of the item's decayed mass (half-life 6 hours), relative to the strongest item.
    """

    relevance: float = 1.0
    interest: float = 0.35
    popularity: float = 0.15
    branch: float = 0.3
    """Part of the interest that counts by the category's first step, so that ``home.tea`` helps ``home.cups``."""
    familiar: float = 0.6
    """Factor of items that the visitor has just acted on: known, so below equally good new ones."""
    variety: float = 0.93
    """Factor for each item of the same category that stands higher in the list."""
    exclude_purchased: bool = True
    """Rule: what the visitor bought is not recommended again."""


@dataclass(frozen=True)
class Settings:
    """Everything the service needs; secrets only as names of environment variables."""

    cassandra: ClusterSpec
    kafka: str
    """``HOST:PORT`` of the brokers."""
    pseudonym_key_env: str = "DOVETAIL_PSEUDONYM_KEY"
    pseudonym_key_id: str = "k1"
    events_topic: str = "events"
    rejected_topic: str = "events.rejected"
    models: Path | None = None
    """Folder of model artefacts by version; None takes the folder that the pointer names."""
    read_deadline_s: float = 0.5
    """How long one store call may take before the answer does without it."""
    pointer_refresh_s: float = 1.0
    trending_refresh_s: float = 3.0
    produce_deadline_s: float = 5.0
    """How long the collector waits for Kafka's acknowledgement before it answers 503."""
    playground_visitors: Path | None = None
    """JSON file of sample visitors for the playground: ``[{"id", "kind", "label"}]``."""
    create_schema: bool = False
    """Create keyspace, pointer and register where they are not there (local platforms and containers)."""
    ranking: Weights = field(default_factory=Weights)
