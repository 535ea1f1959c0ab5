"""Compare a clip with the one that it was made from: which samples were to be kept, and which are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip

Span = tuple[int, int]
BLOCK = 1 << 20  # samples that are compared at a time
SEAM = 0.5  # seconds, of requests that do not say
NEAR_SECONDS, JUMP, OWN_JUMP = 0.05, 15.0, 6.0  # dB beside a seam: a step is unusual, the source had none
FLOOR = 1e-4  # -80 dB: silence has no level to compare


@dataclass(frozen=True)
class Comparison:
    """Samples of a clip that were to be kept from its source. Positions are those of the clip."""

    new: tuple[Span, ...]  # made again
    offset: int = 0  # where the source begins
    outside: int = 0  # samples that were to be kept
    kept: int = 0  # of these, those that are the same in all channels
    jumps: tuple[tuple[int, float], ...] = ()  # unusual steps of the level, in dB, where new audio begins or ends
    reason: str = ""  # why there is nothing to compare


def new_spans(record: Mapping[str, Any], rate: int, samples: int, source_samples: int) -> tuple[Span, ...]:
    """Return the spans of a clip that its request made again; all of it if the request kept nothing."""
    request = record.get("request") or {}
    offset = round(request.get("offset", 0.0) * rate)
    spans = [(round(start * rate), round(end * rate)) for start, end in request.get("regions", ())]
    if request.get("loop"):
        reach = min(round(request.get("seam", SEAM) * rate / 2), samples // 4)
        spans += [(0, reach), (samples - reach, samples)]
    elif record.get("mode") not in ("inpaint", "extend") and not spans:
        return ((0, samples),)
    return _joined([*spans, (0, offset), (offset + source_samples, samples)], samples)


def compare(clip: Clip, source: Clip, record: Mapping[str, Any]) -> Comparison:
    """Compare a clip with its source, sample by sample, outside the spans that its record says are new."""
    samples, rate = clip.samples, clip.sample_rate
    request = record.get("request") or {}
    offset = round(request.get("offset", 0.0) * rate)
    new = new_spans(record, rate, samples, source.samples)
    if rate != source.sample_rate:
        return Comparison(((0, samples),), reason=f"the rate changed from {source.sample_rate} to {rate} Hz")
    if request.get("loop") and samples != source.samples:
        return Comparison(((0, samples),), reason="the loop has another length")
    kept = 0
    spans = _gaps(new, samples)
    if not spans:
        return Comparison(new, offset, reason="all of it was made again")
    for start, stop in spans:
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            mine = clip.read(first, last)
            theirs = to_channels(source.read(first - offset, last - offset), clip.channels)
            kept += int(np.all(mine == theirs, axis=0).sum())
    outside = sum(stop - start for start, stop in spans)
    return Comparison(new, offset, outside, kept, tuple(_jumps(clip, source, spans, offset)))


def _joined(spans: Sequence[Span], samples: int) -> tuple[Span, ...]:
    found: list[Span] = []
    for start, end in sorted((max(0, start), min(end, samples)) for start, end in spans):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)


def _gaps(spans: Sequence[Span], samples: int) -> list[Span]:
    """Return what lies between spans, which are in order."""
    edges = [(0, 0), *spans, (samples, samples)]
    return [(stop, start) for (_, stop), (start, _) in pairwise(edges) if stop < start]


def _jumps(clip: Clip, source: Clip, spans: Sequence[Span], offset: int) -> list[tuple[int, float]]:
    """Return the seams where the level steps, and did not in the source: a note that begins there is no fault."""
    near, found = round(NEAR_SECONDS * clip.sample_rate), []
    for seam in sorted({edge for span in spans for edge in span} - {0, clip.samples}):
        step, own = _step(clip, seam, near), _step(source, seam - offset, near)
        if step is not None and own is not None and abs(step) >= JUMP and abs(own) < OWN_JUMP:
            found.append((seam, round(step, 1)))
    return found


def _step(clip: Clip, at: int, near: int) -> float | None:
    """Return how much louder a clip is after a sample than before it, in dB; None at its ends."""
    if not near <= at <= clip.samples - near:
        return None
    before, after = (np.sqrt(np.mean(clip.read(a, a + near) ** 2)) for a in (at - near, at))
    return float(20 * np.log10(max(after, FLOOR) / max(before, FLOOR)))
