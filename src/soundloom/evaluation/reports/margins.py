"""How large a difference must be to matter: below its margin, two figures are the same."""

from __future__ import annotations

from collections.abc import Mapping

from soundloom.evaluation.metrics import Metric

ALIGNMENT, FAD_CLAP, SHARE, LOG_MEL = 0.01, 0.02, 0.03, 0.3
MIN_FAD_CLIPS = 1000  # below, a margin of FAD-CLAP would be less than its bias
NORMAL_95 = 1.96


def default_margin(figure: str, metric: Metric | None, unit: str = "") -> float | None:
    """Return the margin of a figure, in its unit; None for figures without one.

    CLAP scores 0.01, FAD-CLAP 0.02 from 1,000 clips, KAD twice its standard error, shares 3 points, log-mel 0.3 dB.
    """
    unit = metric.unit if metric else unit
    if unit == "%":
        return SHARE
    if figure.startswith(("align/", "edit/instruction", "edit/target", "edit/delta", "edit/kept")):
        return ALIGNMENT
    if figure.startswith("codec/log_mel"):
        return LOG_MEL
    if figure.startswith("fad/clap") and metric and metric.count >= MIN_FAD_CLIPS:
        return FAD_CLAP
    if figure.startswith("kad/") and metric and metric.interval:
        low, high = metric.interval
        return (high - low) / NORMAL_95  # twice the standard error
    return None


def margin_of(figure: str, metric: Metric | None, chosen: Mapping[str, float], unit: str = "") -> float | None:
    """Return the chosen margin of a figure, else its default."""
    return chosen[figure] if figure in chosen else default_margin(figure, metric, unit)
