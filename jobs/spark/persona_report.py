"""The personas' report: one HTML page with its plots inside, the same bytes for the same cards."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, NamedTuple

import matplotlib
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from common.personas import Persona, spoken

COLOURS = ("#b4552d", "#4062bb", "#2f8f6b", "#a4478f", "#b98a12", "#4b8ea6", "#7a6ad8", "#8a6f5c")
"""A colour for each segment, in the order of the cards; they read on light and on dark ground."""

_INK = "#010203"
"""Stands for the page's ink in a plot, which is light or dark as the reader has it."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "personas",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Flow(NamedTuple):
    """How many visitors went from a segment to another since the cut before; None is no segment."""

    origin: str | None
    goal: str | None
    visitors: int


class Lift(NamedTuple):
    """What the members of a segment of the cut before did since; a lift is their share by everyone's, if any did."""

    segment: str
    members: int
    active: int
    buyers: int
    activity_lift: float | None
    order_lift: float | None


def page(cards: Sequence[Persona], flows: Sequence[Flow], lifts: Sequence[Lift], cut_ms: int, days: int) -> str:
    """The report of a cut's cards, which were made from the events of ``days`` before it, of who moved, and of what
    the segments of the cut before told."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"spoken": spoken, "percent": lambda x: f"{x:.0%}", "money": lambda x: f"{x:,.2f}"}
    template = environment.from_string((files("jobs.spark") / "personas.html").read_text(encoding="utf-8"))
    colours = {card.segment_id: COLOURS[i % len(COLOURS)] for i, card in enumerate(cards)}
    return template.render(
        cards=cards,
        flows=sorted(flows, key=lambda flow: (-flow.visitors, flow.origin or "", flow.goal or "")),
        lifts=lifts,
        colours=colours,
        cut=datetime.fromtimestamp(cut_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        days=days,
        visitors=sum(card.size for card in cards),
        overview=_map(cards, colours) if cards else Markup(""),
        hours={card.segment_id: _hours(card, colours[card.segment_id]) for card in cards},
        weekdays=WEEKDAYS,
    )


def _map(cards: Sequence[Persona], colours: dict[int, str]) -> Markup:
    """All segments by days since the last order and money spent; the area is the number of visitors."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for card in cards:
            at = (max(card.recency_days, 0.5), max(card.monetary, 0.5))
            area = 60 + 5000 * card.share
            axes.scatter(*at, s=area, color=colours[card.segment_id], alpha=0.8, linewidths=0)
            axes.annotate(
                f"{card.title} · {card.share:.0%}",
                at,
                xytext=(0, area**0.5 / 2 + 4),
                textcoords="offset points",
                ha="center",
                fontweight="bold",
            )
        axes.set(xscale="log", yscale="log", xlabel="days since the last order", ylabel="money spent")
        axes.margins(0.28, 0.4)
        axes.invert_xaxis()
        axes.grid(True, which="major", color=_INK, alpha=0.12, linewidth=0.7)
        axes.minorticks_off()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
        return _svg(figure, "Segments by recency and money; the area is the number of visitors")


def _hours(card: Persona, colour: str) -> Markup:
    """The share of each hour of the day."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 1.25), layout="constrained")
        axes = figure.subplots()
        axes.bar(range(24), card.hours, color=colour, width=0.82)
        axes.set_xlim(-0.6, 23.6)
        axes.set_xticks([0, 6, 12, 18, 23], labels=["0", "6", "12", "18", "23 h"])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        return _svg(figure, f"Hours of the day of {card.title}, UTC")


def _svg(figure: Figure, label: str) -> Markup:
    """A figure as inline SVG that scales with its place and takes the page's ink and font."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    head, rest = text.split(">", 1)
    head = " ".join(part for part in head.split() if not part.startswith(("width=", "height=")))
    return Markup(head) + Markup(' role="img" aria-label="{}">').format(label) + Markup(rest)
