"""Verdicts of those who looked: two customers are the same person, or they are not."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from common.lists import read_list

SAME_BITS = 1000.0
"""What the word of a human weighs: more than all that rows can say."""


class Verdict(BaseModel):
    """One pair as it was judged: the customers by the ids that gold/review_queue has, and who said it, when and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customer: str = Field(min_length=1)
    other: str = Field(min_length=1)
    verdict: Literal["same", "different"]
    by: str = Field(min_length=1, max_length=80)
    when: datetime | date
    """UTC where no zone is said; of two verdicts on a pair the later holds."""
    why: str = Field(min_length=1, max_length=600)

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.customer == self.other:
            raise ValueError("a verdict is about two customers, not one")
        return self

    @property
    def judged_ms(self) -> int:
        """``when`` in epoch milliseconds; of a date its first instant."""
        at = self.when if isinstance(self.when, datetime) else datetime(self.when.year, self.when.month, self.when.day)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)

    def row(self) -> dict[str, Any]:
        """The row of silver/verdicts."""
        first, other = sorted((self.customer, self.other))
        return {
            "customer_id": first,
            "other_id": other,
            "verdict": self.verdict,
            "judged_by": self.by,
            "judged_ms": self.judged_ms,
            "why": self.why,
        }


_verdicts = TypeAdapter(list[Verdict])


def read_verdicts(path: Path) -> list[Verdict]:
    """The verdicts in a YAML file; raises ConfigError in one line where it is not a list of them."""
    return read_list(path, _verdicts, "--verdicts")


def last_words(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """A row for each pair: of several verdicts on it the latest, of equal times the later in the list."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted((v.row() for v in verdicts), key=lambda row: row["judged_ms"]):
        found[row["customer_id"], row["other_id"]] = row
    return list(found.values())
