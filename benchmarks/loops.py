"""Measure how audible the wrap of loops is that `mini` generates.

    python benchmarks/loops.py [--loops 100]

Compares loops with the same clips before their seam is renewed, and with places inside the loops.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundloom.audio.clip import Clip
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.evaluation.edits.seams import Wrap, measure_wrap
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.stable_audio.model import Model

KINDS = (
    *("kick drum loop", "snare drum loop", "rock drum loop", "hip hop drum loop", "bass line"),
    *("arpeggio", "chord progression", "a siren", "rain", "wind"),
)
MIN_BPM, MAX_BPM, MAX_BARS = 80, 160, 4
INSIDE = (0.2, 0.35, 0.65, 0.8)  # places in a loop


@dataclass(frozen=True)
class Row:
    """Figures of many wraps."""

    name: str
    beyond: float  # share of ranks above .999; 0.001 by chance
    rank: float  # median
    flux: float  # median of |z|
    count: int

    def __str__(self) -> str:
        return f"{self.name:22} {self.count:5} {self.beyond:14.3f} {self.rank:12.2f} {self.flux:16.2f}"


def requests(count: int, limit: float) -> list[GenerationRequest]:
    """Return loops of 1 to 4 bars at 80 to 160 BPM that are no longer than `limit` seconds."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        bpm = int(rng.integers(MIN_BPM, MAX_BPM + 1))
        most = min(MAX_BARS, int(limit * bpm / 240))
        prompt = f"{KINDS[number % len(KINDS)]}, {bpm} BPM"
        found.append(GenerationRequest(prompt, bars=int(rng.integers(1, most + 1)), loop=True, seed=number))
    return found


def summarize(name: str, wraps: Sequence[Wrap]) -> Row:
    ranks, flux = (np.array([getattr(wrap, field) for wrap in wraps]) for field in ("rank", "flux"))
    return Row(name, float((ranks > 0.999).mean()), float(np.median(ranks)), float(np.median(np.abs(flux))), len(wraps))


def inside(loop: Clip) -> list[Wrap]:
    """Measure places inside a loop as if it wrapped there."""
    shifts = (-round(place * loop.samples) for place in INSIDE)
    return [measure_wrap(np.roll(loop.audio, shift, axis=1), loop.sample_rate) for shift in shifts]


def measure(model: Model, count: int) -> tuple[list[Row], int]:
    """Return the rows of the table, and the largest error of a length in samples."""
    asked = requests(count, model.config.max_seconds)
    loops, plain = model.run(asked), model.run([replace(one, loop=False) for one in asked])
    rows = [
        summarize("loops", [measure_wrap(clip.audio, clip.sample_rate) for clip in loops]),
        summarize("inside the loops", [wrap for clip in loops for wrap in inside(clip)]),
        summarize("without a renewed seam", [measure_wrap(clip.audio, clip.sample_rate) for clip in plain]),
    ]
    exact = [round(one.bars * 4 * 60 / one.bpm * 44100) for one in asked if one.bars and one.bpm]
    return rows, max(abs(clip.samples - samples) for clip, samples in zip(loops, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=100, metavar="N")
    count = parser.parse_args().loops
    logging.disable(logging.WARNING)
    rows, error = measure(load_stable_audio("mini", keep_loaded=True, keep_bad=True), count)
    print(f"{'':22} {'wraps':>5} {'ranks > .999':>14} {'median rank':>12} {'median |flux z|':>16}")
    print(*rows, sep="\n")
    print(f"largest error of a length: {error} samples")


if __name__ == "__main__":
    main()
