"""The content of a report: what was measured, on what, how, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from soundloom.evaluation.metrics import Metric


@dataclass(frozen=True)
class ClipRecord:
    """Figures of one clip. Clips of two reports are compared in pairs by `id` and `seed`.

    `figures` are by the names of metrics; `failures` are words such as "silent"; `audio` is a path relative to the
    report's folder.
    """

    id: str
    prompt: str = ""
    seed: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    audio: str | None = None


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
class Report:
    """Everything that a report says; the Markdown and HTML forms are made from it alone.

    `subject` describes what was measured (model, hash, precision, engine, device, adapters, steps, guidance), `data`
    the prompts and the reference (names, hashes, counts, lengths), `recipes` every field of each recipe by its hash,
    `cost` seconds and memory. `command` reproduces the report.
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
