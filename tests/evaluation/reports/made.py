"""Reports made for tests: the figures of a set of clips, some of them awkward."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.record import ClipRecord, Curve, Report

RECIPE = "abcdef012345"
AWKWARD = "häßlich/雨 <b>&|"


def sound(index: int, seconds: float = 0.5, rate: int = 16000) -> tuple[np.ndarray, int]:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (200 + 150 * index) * time)).astype(np.float32)[None], rate


def sounds(report: Report) -> dict[tuple[str, int | None], Path | tuple[np.ndarray, int]]:
    return {(clip.id, clip.seed): sound(index) for index, clip in enumerate(report.clips)}


def made_report(clips: int = 5, seed: int = 0, name: str = "made", shift: float = 0.0, **changes: object) -> Report:
    """Return a report of normal scores of which `shift` moves the mean; a shift and a seed give one report always."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    scores = 0.35 + shift + 0.1 * rng.standard_normal(clips)
    records = tuple(
        ClipRecord(
            AWKWARD if index == 1 else f"prompt-{index:04d}",
            f"rain on a tin roof, number {index}",
            index % 2,
            {"align/score": float(score), "codec/log_mel": math.nan if index == 2 else 3 + float(score)},
            ("silent",) if index == 3 else (),
        )
        for index, score in enumerate(scores)
    )
    fields: dict[str, object] = {
        "kind": "set",
        "subject": {"name": name, "sha256": "ab" * 32, "adapters": [{"name": "rain", "strength": 0.5}]},
        "data": {"name": "made", "manifest": "cd" * 32, "prompts": clips, "reference_hash": "ef" * 32},
        "metrics": (
            Metric("align/score", float(scores.mean()), clips, (0.3, 0.4), 0.3, direction="higher", recipe=RECIPE),
            Metric("codec/log_mel", math.nan, clips, (-math.inf, math.inf), 4.0, "at most", "dB", "lower"),
        ),
        "recipes": {RECIPE: {"name": "soundloom", "rate": 48000, "tail": ("last block", 5.0)}},
        "clips": records,
        "curves": (Curve("kept", "noise level", "cosine", (0.1, 0.5), (0.9, math.nan), ((0.8, 0.95), (0.1, 0.2))),),
        "cost": {"seconds": 1.5, "peak_memory": 2.0**30},
        "command": "soundloom eval set clips --reference real",
        "notes": ("a note",),
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]
