"""Ask the serving layer: why an answer is as it is, and what is live."""

from typing import Any
from urllib.parse import quote

import click
import httpx

from cli.options import settings
from common import config
from common.errors import DovetailError, ServerUnavailable

DEADLINE_S = 10.0
LOOK_DEEP = 100
"""How many items are asked for when one item is looked for."""


def get(url: str, **parameters: str | int) -> Any:
    """Return the JSON that serving answers with; raises ServerUnavailable or DovetailError in one line."""
    try:
        answer = httpx.get(url, params=parameters, timeout=DEADLINE_S)
    except httpx.HTTPError as error:
        raise ServerUnavailable(
            f"serving does not answer at {url} ({type(error).__name__}): start it, or --set serving.url=..."
        ) from None
    if answer.status_code >= 400:
        body = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        raise DovetailError(f"serving answered {answer.status_code}: {body.get('detail') or answer.reason_phrase}")
    return answer.json()


@click.command("why")
@click.argument("user")
@click.argument("item", required=False)
@click.option("--kind", type=click.Choice(["user", "anonymous"]), default="user", show_default=True, help="Whose id.")
@click.option("-n", "count", default=10, show_default=True, help="How many items to explain.")
@settings
def why_command(user: str, item: str | None, kind: str, count: int, env: str, overrides: tuple[str, ...]) -> None:
    """Explain an answer: why USER gets this list, or, where ITEM is given, why that item stands where it does."""
    base = config.load(env, None, overrides).serving.url.rstrip("/")
    depth = LOOK_DEEP if item else count
    answer = get(f"{base}/v1/users/{quote(user, safe='')}/recommendations", kind=kind, n=depth, explain="true")
    for line in explained(answer, item):
        click.echo(line)


@click.command("status")
@settings
def status_command(env: str, overrides: tuple[str, ...]) -> None:
    """Say what is live: the batch view's version and age, the generation, the model."""
    base = config.load(env, None, overrides).serving.url.rstrip("/")
    ready, trending = get(f"{base}/readyz"), get(f"{base}/v1/trending", n=1)
    click.echo(f"serving      {base}: {ready.get('status', 'ready')}")
    for line in basis(trending):
        click.echo(line)


def basis(answer: dict[str, Any]) -> list[str]:
    """Return what an answer rests on, a line for each layer and one for what was missing."""
    age = answer["age_ms"]
    lines = [
        f"batch        version {answer['view_version'] or 'none'}{_age(age['batch'], 'cut')}",
        f"speed        generation {answer['generation'] or 'none'}{_age(age['speed'], 'newest event')}",
        f"model        {answer['model_version'] or 'none'}",
    ]
    if answer["degraded"]:
        lines.append(f"degraded     answered without {', '.join(answer['missing'])}")
    return lines


def explained(answer: dict[str, Any], item: str | None) -> list[str]:
    """Return an answer in readable lines: what it rests on, then each item with its score's parts and reasons.

    Raises DovetailError where ``item`` is given and not in the answer.
    """
    ranked = list(enumerate(answer["items"], 1))
    if item is not None:
        ranked = [(rank, entry) for rank, entry in ranked if entry["item_id"] == item]
        if not ranked:
            raise DovetailError(
                f"{item} is not among the first {len(answer['items'])} of this list: bought already, unknown to the"
                " model, or ranked lower"
            )
    lines = [f"level        {answer['level']}", f"made from    {', '.join(answer['sources']) or 'nothing personal'}"]
    lines += basis(answer)
    for rank, entry in ranked:
        title = f"  {entry['title']}" if entry.get("title") else ""
        category = f"  [{entry['category']}]" if entry.get("category") else ""
        lines.append(f"{rank:>3}. {entry['item_id']}{title}{category}")
        parts = " + ".join(f"{name} {value:.3f}" for name, value in (entry.get("parts") or {}).items() if value)
        lines.append(f"     score {entry['score']:.3f}" + (f" from {parts}" if parts else ""))
        lines += [f"     {reason['share']:>4.0%}  {reason['text']}" for reason in entry["reasons"]]
    return lines


def _age(milliseconds: int | None, since: str) -> str:
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f", {since} {seconds / size:.0f} {unit} ago"
    return f", {since} {seconds:.0f} s ago"
