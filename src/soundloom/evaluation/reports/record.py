"""The content of a report: what was measured, on what, how, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.statistics.intervals import Interval

MAX_DIFFERING, MAX_VALUE = 3, 16  # fields, and characters of each, that tell equal names apart

Verdict = Literal["better", "same", "worse", "different", "undecided"]
GateResult = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True)
class ClipRecord:
    """Figures of one clip. Clips of two reports are compared in pairs by `id` and `seed`.

    `figures` are by the names of metrics; `failures` are words such as "silent"; `audio` is a path relative to the
    report's folder. `source` names the sound that the clip is an edit of: edits of one sound are not independent.
    """

    id: str
    prompt: str = ""
    seed: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    audio: str | None = None
    source: str = ""


@dataclass(frozen=True)
class Curve:
    """A figure over another quantity, such as kept over noise level; `intervals` are empty or one per point."""

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...] = ()
    labels: tuple[str, ...] = ()  # of the points


@dataclass(frozen=True)
class Difference:
    """A figure of one report minus the same figure of another.

    `count` is the number of independent pairs (prompts, or sources of edits). `interval` has 95 %, `narrow` 90 %: the
    verdict is "same" where `narrow` lies within ±`margin`. `p` is the sign-flip test's, `p_adjusted` Holm's within the
    family, `p_check` Wilcoxon's. Values that a method does not have are None.
    """

    figure: str
    base: float
    value: float
    difference: float
    count: int
    verdict: Verdict
    interval: Interval | None = None
    narrow: Interval | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_check: float | None = None
    margin: float | None = None
    unit: str = ""
    direction: Literal["higher", "lower", ""] = ""
    method: str = ""
    subject: str = ""  # the report whose figure is `value`, where several are compared with `base`


@dataclass(frozen=True)
class Gate:
    """The outcome of one condition of a file of gates."""

    figure: str
    condition: str  # such as "at most 0"
    result: GateResult
    found: str  # the value, or the difference, with its interval


@dataclass(frozen=True)
class Report:
    """Everything that a report says; the Markdown and HTML forms are made from it alone.

    `subject` describes what was measured: name (or model), sha256, precision, engine, device, adapters, steps,
    guidance, prefix. `data` describes prompts and reference: name, `manifest` (the hash of the prompts, or of the
    sounds that are measured), prompts, seeds, seconds, `reference` (name), `reference_hash`, license, overlap. Two
    reports are compared only where `kind`, `manifest`, `reference_hash`, the hashes of `recipes` and the embedders of
    metrics are equal. `recipes` holds every field of each recipe by the first 12 characters of its hash. `cost` holds
    seconds, seconds_per_clip, real_time_factor, peak_memory (bytes), energy (J), price: it is the only part, with
    the date, that may differ between two equal runs. `command` reproduces the report.
    """

    kind: str  # the action of `soundloom eval`, such as "set"
    subject: Mapping[str, Any]
    data: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    clips: tuple[ClipRecord, ...] = ()
    curves: tuple[Curve, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    comparison: tuple[Difference, ...] = ()
    gates: tuple[Gate, ...] = ()
    date: str = ""  # ISO 8601; `write_report` sets it


def subject_name(report: Report) -> str:
    """Return what a report calls its subject."""
    return str(next((report.subject[key] for key in ("name", "model", "sounds") if report.subject.get(key)), "sounds"))


def labels(reports: Sequence[Report]) -> list[str]:
    """Return distinct names of subjects: equal ones are told apart by the first fields that differ, else by numbers."""
    names = [subject_name(report) for report in reports]
    if len(set(names)) < len(names):
        keys = dict.fromkeys(key for report in reports for key in report.subject)
        differing = [key for key in keys if len({repr(report.subject.get(key)) for report in reports}) > 1]
        names = [_label(name, report, differing[:MAX_DIFFERING]) for name, report in zip(names, reports, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} [{number}]" for number, name in enumerate(names, 1)]
    return names


def _label(name: str, report: Report, keys: Sequence[str]) -> str:
    found = {key: report.subject[key] for key in keys if report.subject.get(key) is not None}
    values = [value[:MAX_VALUE] if isinstance(value, str) else f"{key} {value}" for key, value in found.items()]
    return f"{name} ({', '.join(values)})" if values else name


def failure_counts(report: Report) -> dict[str, int]:
    """Return the number of clips with each kind of failure, by name."""
    names = sorted({failure for clip in report.clips for failure in clip.failures})
    return {name: sum(name in clip.failures for clip in report.clips) for name in names}
