"""What becomes of an import that refused most of its file: all rows are kept, and the run says that it went wrong."""

from collections.abc import Mapping
from typing import Any

from common.errors import ContractError


def require_most_accepted(counts: Mapping[str, Any], most_rejected: float, topic: str) -> None:
    """Raise ContractError where more than the share ``most_rejected`` of a file's rows was rejected.

    ``counts`` has rows_in, rejected and reasons; the rejected rows have been written under the topic.
    """
    rows, rejected = counts["rows_in"], counts["rejected"]
    if rejected <= most_rejected * rows:
        return
    by_count = sorted(counts["reasons"].items(), key=lambda reason: (-reason[1], reason[0]))
    reasons = ", ".join(f"{reason} {count}" for reason, count in by_count)
    raise ContractError(
        f"{rejected} of {rows} rows were rejected, above --most-rejected {most_rejected:g}: {reasons}; they are in "
        f"bronze/rejections, topic {topic}, the others were taken; mend the file or its mapping and import it again, "
        "or give a higher --most-rejected"
    )
