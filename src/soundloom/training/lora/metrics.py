"""What the logs of adapter training show beside the loss, by the names of the logs; NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundloom.training.lora.clips import HELD_OUT_TIMES

TIME_BINS = 16


def time_bins(times: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the bins (b,) of times (b,) in [0, 1]."""
    return np.clip((times * TIME_BINS).astype(np.int64), 0, TIME_BINS - 1)


def loss_by_time(sums: Sequence[float], counts: Sequence[float]) -> dict[str, float]:
    """Return the mean loss in each bin that has any, by the middle of the bin."""
    bins = zip(sums, counts, strict=True)
    return {
        f"loss at t/{(number + 0.5) / TIME_BINS:.2f}": total / count
        for number, (total, count) in enumerate(bins)
        if count
    }


def held_out_losses(by_time: Sequence[float]) -> dict[str, float]:
    """Return the mean loss of held-out clips, and that at each of their times."""
    times = {f"held-out at t/{t:g}": loss for t, loss in zip(HELD_OUT_TIMES, by_time, strict=True)}
    return {"held-out": sum(by_time) / len(by_time), **times}


class MeasuringSchedule:
    """When held-out clips are measured: at the start, at intervals, and at the end."""

    def __init__(self, every: int, steps: int) -> None:
        self.every, self.steps = every, steps
        self._last = -1

    def is_due(self, step: int) -> bool:
        """Whether to measure now; true means that it is done."""
        due = self._last < 0 or step >= self.steps or step - self._last >= self.every
        if due:
            self._last = step
        return due
