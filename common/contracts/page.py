"""Contracts as a page of documentation."""

from collections.abc import Iterable

from common.contracts.core import Contract

_INTRODUCTION = """# Contracts

Every data set of the platform, as declared in `common/contracts/` and `common/features/groups.py`. The schemas of
Spark, Flink and Cassandra and the JSON Schemas are rendered from the same declarations; this page is too
(`python -m common.contracts.page`).
"""


def page(contracts: Iterable[Contract]) -> str:
    """The Markdown page of all contracts, in their order."""
    return "\n".join([_INTRODUCTION, *(_section(contract) for contract in contracts)])


def _section(contract: Contract) -> str:
    facts = [f"Key: {', '.join(f'`{name}`' for name in contract.key)}"]
    if contract.event_time:
        facts.append(f"Event time: `{contract.event_time}`")
    if contract.partition_by:
        facts.append(f"Partitioned by: {', '.join(f'`{name}`' for name in contract.partition_by)}")
    rows = [
        f"| `{x.name}` | {_cell(str(x.kind))} | {'yes' if x.nullable else 'no'} | {_cell(x.doc)} |"
        for x in contract.fields
    ]
    lines = [
        f"## {contract.name} v{contract.version}",
        "",
        contract.doc,
        "",
        " · ".join(facts),
        "",
        "| field | kind | nullable | meaning |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    from common.contracts.registry import ALL

    print(page(ALL.values()), end="")
