"""Estimate how long runs take, from earlier ones, and how far a run is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

STAGES = ("text", "encode", "sample", "decode")
DEFAULT_SHARES = {"text": 0.02, "encode": 0.08, "sample": 0.7, "decode": 0.2}
DEFAULT_SPEED = 0.5  # seconds of work for a second of audio, before anything is known


@dataclass
class Timings:
    """Mean seconds of each stage by (latent frames, clips in the run), of one model on one device."""

    known: dict[tuple[int, int], dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, float]]) -> Timings:
        """Read rows of the database."""
        timings = cls()
        for row in rows:
            timings.known.setdefault((int(row["frames"]), int(row["clips"])), {})[str(row["stage"])] = row["seconds"]
        return timings

    def stages(self, frames: int, clips: int, seconds: float) -> dict[str, float]:
        """Return the expected seconds of each stage of a run that generates `seconds` of audio in each clip.

        Runs of another size count in proportion.
        """
        if not self.known:
            return {stage: share * DEFAULT_SPEED * seconds * clips for stage, share in DEFAULT_SHARES.items()}
        size = frames * clips
        nearest = min(self.known, key=lambda one: abs(one[0] * one[1] - size))
        scale = size / max(1, nearest[0] * nearest[1])
        return {stage: value * scale for stage, value in self.known[nearest].items()}


class Fraction:
    """How much of a run is done; it never goes back."""

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._expected = dict(expected)
        self._total = max(sum(self._expected.values()), 1e-6)
        self._before = 0.0  # seconds of the stages that have ended
        self.value = 0.0
        self.start = time.monotonic()

    def update(self, stage: str, step: int, steps: int, *, finished: bool = False) -> None:
        """Count a step of a stage."""
        seconds = self._expected.get(stage, 0.0)
        if finished:
            self._before += seconds
            done = self._before
        else:
            done = self._before + seconds * step / max(1, steps)
        self.value = min(0.99, max(self.value, done / self._total))

    def seconds_left(self) -> float:
        """Return the time that is left at the speed so far, or as expected if there is none yet."""
        elapsed = time.monotonic() - self.start
        if self.value < 0.05:
            return max(0.0, self._total - elapsed)
        return elapsed * (1 - self.value) / self.value
