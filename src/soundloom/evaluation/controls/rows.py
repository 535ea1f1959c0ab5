"""Count how often each control was obeyed: the rows of the table, and metrics with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from soundloom.evaluation.controls.prompts import ControlPrompt
from soundloom.evaluation.controls.score import OCTAVES, ROWS, UNSURE, Outcome
from soundloom.evaluation.metrics import Metric, mean_metric
from soundloom.evaluation.reports.record import ClipRecord
from soundloom.evaluation.statistics.intervals import Interval, wilson

PREFIX = "control/"
HEADER = ("control", "n", "hits", "share", "95 % interval", "unsure", "octave errors", "failed", "ceiling")
SHARES = {"tempo_accuracy2": "%", "key_points": "", "key_points_fifth_below": ""}  # figures whose mean is a metric


@dataclass(frozen=True)
class ScoredClip:
    """A prompt with a seed, and how its clip obeyed; `failures` are words such as "silent".

    Clips that are only "clipped" are measured, so `is_failed` is False.
    """

    prompt: ControlPrompt
    seed: int
    outcomes: tuple[Outcome, ...]
    failures: tuple[str, ...] = ()
    is_failed: bool = False  # nothing could be measured

    def record(self) -> ClipRecord:
        """Return the clip as a report holds it; figures that do not exist are left out."""
        figures = {"failures": float(self.is_failed)} | ({"clipped": 1.0} if "clipped" in self.failures else {})
        for outcome in self.outcomes:
            figures |= outcome.record()
        named = {f"{PREFIX}{name}": value for name, value in figures.items() if np.isfinite(value)}
        return ClipRecord(self.prompt.id, self.prompt.text, self.seed, named, self.failures if self.is_failed else ())


@dataclass(frozen=True)
class ControlRow:
    """A row of the table. `clips`, `hits`, `unsure`, `octaves` and `failed` count clips.

    `interval` is Wilson's for the number of prompts: seeds of one prompt are no independent trials. `ceiling` is the
    share of hits in rendered sounds that are what the prompts ask for, None where there are none.
    """

    name: str
    clips: int
    prompts: int
    hits: int
    interval: Interval
    unsure: int
    octaves: int
    failed: int
    ceiling: float | None = None

    @property
    def share(self) -> float:
        return self.hits / self.clips


def control_rows(clips: Sequence[ScoredClip], references: Sequence[Outcome] = ()) -> list[ControlRow]:
    """Count the clips of each control, in the order of the benchmark; `references` are those of rendered sounds."""
    found = [_row(name, clips, references) for names in ROWS.values() for name in names]
    return [row for row in found if row is not None]


def _row(name: str, clips: Sequence[ScoredClip], references: Sequence[Outcome]) -> ControlRow | None:
    found = [(clip, outcome) for clip in clips for outcome in clip.outcomes if outcome.row == name]
    if not found:
        return None
    prompts, hits = len({clip.prompt.id for clip, _ in found}), sum(outcome.hit for _, outcome in found)
    ceiling = [outcome.hit for outcome in references if outcome.row == name]
    return ControlRow(
        name,
        len(found),
        prompts,
        hits,
        wilson(hits / len(found), prompts),
        sum(outcome.unsure for _, outcome in found),
        sum(outcome.octave for _, outcome in found),
        sum(clip.is_failed for clip, _ in found),
        float(np.mean(ceiling)) if ceiling else None,
    )


def control_metrics(clips: Sequence[ScoredClip], references: Sequence[Outcome] = ()) -> tuple[Metric, ...]:
    """Return shares of hits, unsure clips and octave errors, ceilings, means of figures, and the share of failures."""
    metrics: list[Metric] = []
    for row in control_rows(clips, references):
        metrics.append(_share(row.name, row.share, row.prompts, "higher"))
        if row.name in UNSURE:
            metrics.append(_share(UNSURE[row.name], row.unsure / row.clips, row.prompts))
        if row.name in OCTAVES:
            metrics.append(_share(OCTAVES[row.name], row.octaves / row.clips, row.prompts, "lower"))
        if row.ceiling is not None:
            count = sum(outcome.row == row.name for outcome in references)
            metrics.append(_share(f"{row.name}_ceiling", row.ceiling, count))
    for name, unit in SHARES.items():
        metrics += _mean(clips, name, unit)
    if clips:
        failures = sum(clip.is_failed for clip in clips) / len(clips)
        prompts = len({clip.prompt.id for clip in clips})
        interval = wilson(failures, prompts)
        metrics.append(Metric(f"{PREFIX}failures", failures, prompts, interval, 0.0, "at most", "%", "lower"))
    return tuple(metrics)


def _share(name: str, share: float, prompts: int, direction: Literal["higher", "lower", ""] = "") -> Metric:
    interval = wilson(share, prompts)
    return Metric(
        f"{PREFIX}{name}", share, prompts, interval, unit="%", direction=direction, method="Wilson, by prompt"
    )


def _mean(clips: Sequence[ScoredClip], name: str, unit: str) -> list[Metric]:
    """Return the mean over prompts of a figure."""
    of_prompt: dict[str, list[float]] = {}
    for clip in clips:
        for outcome in clip.outcomes:
            if name in outcome.figures:
                of_prompt.setdefault(clip.prompt.id, []).append(outcome.figures[name])
    if not of_prompt:
        return []
    means = [float(np.mean(values)) for values in of_prompt.values()]
    return [replace(mean_metric(f"{PREFIX}{name}", means, unit), direction="higher", method="bootstrap, by prompt")]


def control_table(rows: Sequence[ControlRow]) -> list[str]:
    """Format rows as aligned lines under a header."""
    cells = [HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in cells
    ]


def _cells(row: ControlRow) -> tuple[str, ...]:
    low, high = (f"{100 * edge:.0f}" for edge in row.interval)
    return (
        row.name.replace("_", " "),
        str(row.clips),
        str(row.hits),
        f"{100 * row.share:.0f} %",
        f"{low} … {high} %",
        str(row.unsure) if row.name in UNSURE else "",
        str(row.octaves) if row.name in OCTAVES else "",
        str(row.failed),
        "" if row.ceiling is None else f"{100 * row.ceiling:.0f} %",
    )
