"""Regenerate regions and continue sounds, and measure each result against its source.

A continuation is of a sound without its end, so that the true end is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.evaluation.clips import BATCH, generate_clips
from soundloom.evaluation.edits.detectability import edge_features
from soundloom.evaluation.edits.kept import Honored, Kept, Span, measure_honored, measure_kept
from soundloom.evaluation.edits.seams import Seam, measure_seam
from soundloom.evaluation.edits.sources import Source
from soundloom.evaluation.frontend import UNUSABLE, faults
from soundloom.pipeline.stable_audio.model import Model

MAX_SHARE = 0.6  # of a sound that a region may take
MIN_BESIDE = 0.25  # seconds of the source that stay on each side
CROSSFADE = 0.01  # seconds, the default of requests

Kind = Literal["region", "continuation"]
Log = Callable[[int, int], None]


@dataclass(frozen=True)
class RegionEdit:
    """One edit: regenerate the span of samples of a source, or continue the source before it."""

    number: int  # of the source
    source: Source
    kind: Kind
    gap: float  # seconds
    span: Span
    seed: int

    @property
    def id(self) -> str:
        start, end = (edge / self.source.rate for edge in self.span)
        return f"{self.source.id} {self.kind} {start:.2f}-{end:.2f} s"

    @property
    def edges(self) -> tuple[int, ...]:
        """The edges that can be heard: those with sound on both sides."""
        return tuple(edge for edge in self.span if 0 < edge < self.source.samples)

    def request(self, steps: int | None) -> GenerationRequest:
        """Return the request that makes this edit."""
        source, rate = self.source, self.source.rate
        if self.kind == "continuation":
            known = Clip(source.audio[:, : self.span[0]], rate)
            return GenerationRequest(
                source.caption, source=known, seconds=source.samples / rate, seed=self.seed, steps=steps
            )
        region = self.span[0] / rate, self.span[1] / rate
        return GenerationRequest(source.caption, source=source.clip, regions=(region,), seed=self.seed, steps=steps)


@dataclass(frozen=True)
class EditResult:
    """What an edit made; without audio if it failed. `features` and `shams` are (edges, 6): see `edge_features`."""

    edit: RegionEdit
    failures: tuple[str, ...]
    audio: NDArray[np.float32] | None = None
    kept: Kept | None = None
    honored: Honored | None = None
    seams: tuple[Seam, ...] = ()
    features: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))
    shams: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))


def plan_edits(
    sources: Sequence[Source], gaps: Sequence[float], places: Sequence[float], seeds: Sequence[int], with_ends: bool
) -> list[RegionEdit]:
    """Return an edit for each source, gap, place and seed; `places` are shares of the sound at the region's middle.

    Gaps that take more than 60 % of a sound are left out.
    """
    edits = []
    for (number, source), gap in product(enumerate(sources), gaps):
        length, beside = round(gap * source.rate), round(MIN_BESIDE * source.rate)
        if length > MAX_SHARE * source.samples or length + 2 * beside > source.samples:
            continue
        starts = (round(place * source.samples - length / 2) for place in places)
        held = sorted({min(max(beside, start), source.samples - length - beside) for start in starts})
        spans: list[tuple[Kind, Span]] = [("region", (start, start + length)) for start in held]
        if with_ends:
            spans.append(("continuation", (source.samples - length, source.samples)))
        edits += [RegionEdit(number, source, kind, gap, span, seed) for (kind, span), seed in product(spans, seeds)]
    return edits


def run_edits(
    model: Model, edits: Sequence[RegionEdit], steps: int | None, log: Log = lambda done, total: None
) -> Iterator[EditResult]:
    """Make edits batch by batch, and measure them."""
    for start in range(0, len(edits), BATCH):
        batch = edits[start : start + BATCH]
        clips = generate_clips(model, [edit.request(steps) for edit in batch])
        for edit, clip in zip(batch, clips, strict=True):
            yield measure_edit(edit, clip.audio if clip else None)
        log(min(start + BATCH, len(edits)), len(edits))


def measure_edit(edit: RegionEdit, audio: NDArray[np.float32] | None) -> EditResult:
    """Measure the result of an edit, which is None where the model made nothing usable.

    A result that is silent inside the region, not finite, or of another shape than its source is a failure; what can
    be measured of it still is.
    """
    source, rate = edit.source.audio, edit.source.rate
    if audio is None:
        return EditResult(edit, ("unusable",))
    if len(audio) != len(source):
        return EditResult(edit, ("wrong channels",))
    kept = measure_kept(source, audio, [edit.span])
    failures = _failures(edit, audio)
    if {"wrong length", "not finite"}.intersection(failures):
        return EditResult(edit, failures, None, kept)
    honored = measure_honored(source, audio, edit.span) if edit.kind == "region" else None
    features, shams = (np.array([edge_features(sound, edge, rate) for edge in edit.edges]) for sound in (audio, source))
    seams = tuple(measure_seam(audio, edge, rate, source) for edge in edit.edges)
    return EditResult(edit, failures, audio, kept, honored, seams, features, shams)


def _failures(edit: RegionEdit, audio: NDArray[np.float32]) -> tuple[str, ...]:
    if audio.shape[1] != edit.source.samples:
        return ("wrong length",)
    rate, (start, end) = edit.source.rate, edit.span
    found, before = (UNUSABLE.intersection(faults(sound[:, start:end], rate)) for sound in (audio, edit.source.audio))
    if not np.isfinite(audio).all():
        return ("not finite",)
    return tuple(sorted(found - before))  # a region that was silent before may be silent
