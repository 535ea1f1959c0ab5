"""Published figures, shown beside a figure only where the whole recipe, the reference and the number are the same.

Sources: the Stable Audio 3 report gives neither checkpoint nor windows of its "FAD (LAION-CLAP)" and CLAP score, so
these figures are comparable with nothing; those of Stable Audio 2 are by the public package stable-audio-metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import Report

NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Anchor:
    """A published figure. `recipe` is the name of the recipe, "" if its fields are not published."""

    figure: str  # the start of the name
    recipe: str
    reference: str  # the name of the reference set
    count: int
    value: float
    source: str


ANCHORS = (
    Anchor("fad/openl3", "stability-2024", "songdescriber-instrumental", 586, 78.7, "Stable Audio 2"),
    Anchor("fad/openl3", "stability-2024", "songdescriber-instrumental", 586, 204.03, "MusicGen large stereo"),
    Anchor("kl/passt", "stability-2024", "songdescriber-instrumental", 586, 0.36, "Stable Audio 2"),
    Anchor("kl/passt", "stability-2024", "songdescriber-instrumental", 586, 0.49, "MusicGen large stereo"),
    Anchor("fad/clap", "", "songdescriber-instrumental", 0, 0.107, "Stable Audio 3 medium"),
    Anchor("fad/clap", "", "songdescriber-instrumental", 0, 0.145, "Stable Audio 3 small"),
    Anchor("align/score", "", "songdescriber-instrumental", 0, 0.390, "Stable Audio 3 medium"),
)


def anchor_text(metric: Metric, report: Report) -> str:
    """Return the published figures that are comparable, "not comparable" if there are only others, "" if none."""
    named = [anchor for anchor in ANCHORS if metric.name.startswith(anchor.figure)]
    equal = [anchor for anchor in named if _is_equal(anchor, metric, report)]
    if equal:
        return "; ".join(f"{anchor.value:g} ({anchor.source})" for anchor in equal)
    return NOT_COMPARABLE if named else ""


def _is_equal(anchor: Anchor, metric: Metric, report: Report) -> bool:
    recipe = next((fields for key, fields in report.recipes.items() if metric.recipe and key[:12] == metric.recipe), {})
    return (
        bool(anchor.recipe)
        and recipe.get("name") == anchor.recipe
        and report.data.get("reference") == anchor.reference
        and metric.count == anchor.count
    )
