"""Stop a run whose losses are not finite or stay far above their usual size.

A stopped run leaves a note in its stage's folder, so that no model is exported from it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from soundloom.atomic import atomic_file
from soundloom.errors import TrainingError

WINDOW = 500  # losses in the running median
MIN_LOSSES = 50  # before the running median is used
INITIAL_LOSSES = 5  # whose median is the initial size
MIN_INITIAL_SIZE = 1e-3  # losses that start near zero may grow
EXPLOSION_FACTOR = 1000.0  # times the initial size, from which training never recovers
EXPLOSION_PATIENCE = 10  # consecutive exploded losses after which training stops
FINISH_PATIENCE = 25  # consecutive high losses with which no run counts as finished
DIVERGED_FILE = "diverged.txt"  # in the folder of a stage that a guard stopped


def require_finite(values: Mapping[str, float], step: int, state: Path) -> None:
    """Raise TrainingError naming the values that are not finite."""
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"training stopped at step {step}: not finite: {', '.join(bad)}",
            f"lower the learning rate and resume; {state} holds the last good state",
        )


class DivergenceGuard:
    """Detect a loss that exceeds its running median by `factor` times its size for `patience` consecutive steps.

    Losses may be negative or near zero: their size is the absolute median, or the median absolute deviation where that
    is larger. High losses do not enter the median. A loss of `EXPLOSION_FACTOR` times its initial size is detected
    sooner, even before there is a running median.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.high = 0  # consecutive steps
        self.exploded = 0
        self.last = 0.0
        self._initial: list[float] = []
        self._usual: deque[float] = deque(maxlen=WINDOW)

    @property
    def is_high(self) -> bool:
        """Whether the last loss was too high."""
        return self.high > 0 or self.exploded > 0

    @property
    def has_diverged(self) -> bool:
        """Whether the loss has been too high for so long that the run cannot count as finished."""
        return self.exploded > 0 or self.high >= min(FINISH_PATIENCE, self.patience)

    def watch(self, loss: float, step: int, state: Path) -> None:
        """Add the loss of a step. Raises TrainingError when the patience is exhausted."""
        self.last = loss
        if len(self._initial) < INITIAL_LOSSES:
            self._initial.append(loss)
        elif loss > EXPLOSION_FACTOR * max(MIN_INITIAL_SIZE, median(map(abs, self._initial))):
            self.exploded += 1
            if self.exploded >= EXPLOSION_PATIENCE:
                raise self.error(step, state)
            return
        self.exploded = 0
        if len(self._usual) < MIN_LOSSES or loss <= self._limit():
            self._usual.append(loss)
            self.high = 0
            return
        self.high += 1
        if self.high >= self.patience:
            raise self.error(step, state)

    def error(self, step: int, state: Path) -> TrainingError:
        """Return the error that reports the divergence."""
        return TrainingError(
            f"training stopped at step {step}: the loss was far above its usual {median(self._usual):.4g} "
            f"for {max(self.high, self.exploded)} steps, and is now {self.last:.4g}",
            f"lower the learning rate and resume; {state} is from before",
        )

    def _limit(self) -> float:
        middle = median(self._usual)
        size = max(abs(middle), median(abs(value - middle) for value in self._usual))
        return middle + self.factor * size


def write_divergence(folder: Path, error: TrainingError | None) -> None:
    """Record in a stage's folder that a guard stopped it, or remove the record."""
    path = folder / DIVERGED_FILE
    if error is None:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as file:
        file.write(f"{error.args[0]}\n".encode())


def require_no_divergence(folder: Path) -> None:
    """Raise TrainingError where a guard stopped a stage of a run directory."""
    for path in sorted(folder.glob(f"*/{DIVERGED_FILE}")):
        stage = path.parent.name
        raise TrainingError(
            f"nothing can be exported: the stage {stage} diverged and was stopped ({path})",
            f"lower its learning rate and run soundloom train {stage} again",
        )
