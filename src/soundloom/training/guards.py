"""What stops a run that has gone wrong: losses that are no numbers, or that stay far above their usual size."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from soundloom.errors import TrainingError

WINDOW = 500  # losses whose median is the usual size
FEWEST = 50  # losses from which a usual size can be told


def require_finite(values: Mapping[str, float], step: int, state: Path) -> None:
    """Raise TrainingError naming the values that are not finite."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"training stopped at step {step}: not finite: {', '.join(bad)}",
            f"lower the learning rate and resume; {state} holds the last good state",
        )


class DivergenceGuard:
    """Notices a loss that stays above its running median, by `factor` times its size, for `patience` steps on end.

    Losses may be negative or near zero: their size is the median's distance from zero, or their usual deviation from
    the median where that is larger. What lies above does not count as usual.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.high = 0  # steps on end
        self._usual: deque[float] = deque(maxlen=WINDOW)

    def watch(self, loss: float, step: int, state: Path) -> None:
        """Take the loss of one more step. Raises TrainingError."""
        if len(self._usual) < FEWEST or loss <= self._limit():
            self._usual.append(loss)
            self.high = 0
            return
        self.high += 1
        if self.high >= self.patience:
            raise TrainingError(
                f"training stopped at step {step}: the loss has been far above its usual {median(self._usual):.4g} "
                f"for {self.high} steps, and is {loss:.4g} now",
                f"lower the learning rate and resume; {state} is from before",
            )

    def _limit(self) -> float:
        middle = median(self._usual)
        size = max(abs(middle), median(abs(value - middle) for value in self._usual))
        return middle + self.factor * size
