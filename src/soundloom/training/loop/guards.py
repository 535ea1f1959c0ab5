"""What stops a run that has gone wrong: losses that are no numbers, or that stay far above their usual size.

A run that went wrong leaves a note in its stage's folder, so that nothing is exported of it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from soundloom.atomic import atomic_file
from soundloom.errors import TrainingError

WINDOW = 500  # losses whose median is the usual size
FEWEST = 50  # losses from which a usual size can be told
FIRST = 5  # losses whose median is the size at the start
SMALLEST_START = 1e-3  # size at the start; losses that begin near zero may grow
EXPLOSION = 1000.0  # sizes at the start; what training never comes back from
EXPLODED = 10  # steps on end with such a loss, after which training stops
MANY = 25  # steps on end with too high a loss, with which no run counts as finished
STOPPED_FILE = "diverged.txt"  # in the folder of a stage that was stopped


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
    the median where that is larger. What lies above does not count as usual. A loss of a thousand times the size that
    it had at the start is noticed sooner, also before a usual size is known.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.high = 0  # steps on end
        self.exploded = 0
        self.last = 0.0
        self._first: list[float] = []
        self._usual: deque[float] = deque(maxlen=WINDOW)

    @property
    def is_high(self) -> bool:
        """Whether the loss is too high just now."""
        return self.high > 0 or self.exploded > 0

    @property
    def is_lost(self) -> bool:
        """Whether the loss has been too high for so long that the run cannot count as finished."""
        return self.exploded > 0 or self.high >= min(MANY, self.patience)

    def watch(self, loss: float, step: int, state: Path) -> None:
        """Take the loss of one more step. Raises TrainingError."""
        self.last = loss
        if len(self._first) < FIRST:
            self._first.append(loss)
        elif loss > EXPLOSION * self._start:
            self.exploded += 1
            if self.exploded >= EXPLODED:
                raise self.error(step, state)
            return
        self.exploded = 0
        if len(self._usual) < FEWEST or loss <= self._limit():
            self._usual.append(loss)
            self.high = 0
            return
        self.high += 1
        if self.high >= self.patience:
            raise self.error(step, state)

    def error(self, step: int, state: Path) -> TrainingError:
        """What says that training has gone wrong."""
        return TrainingError(
            f"training stopped at step {step}: the loss has been far above its usual {median(self._usual):.4g} "
            f"for {max(self.high, self.exploded)} steps, and is {self.last:.4g} now",
            f"lower the learning rate and resume; {state} is from before",
        )

    @property
    def _start(self) -> float:
        return max(SMALLEST_START, median(map(abs, self._first)))

    def _limit(self) -> float:
        middle = median(self._usual)
        size = max(abs(middle), median(abs(value - middle) for value in self._usual))
        return middle + self.factor * size


def note_stop(folder: Path, error: TrainingError | None) -> None:
    """Keep or forget in a stage's folder that it was stopped by a guard."""
    path = folder / STOPPED_FILE
    if error is None:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as file:
        file.write(f"{error.args[0]}\n".encode())


def require_no_diverged_stage(folder: Path, command: Callable[[str], str]) -> None:
    """Raise TrainingError where a stage of a work folder was stopped by a guard; `command` names stages as typed."""
    for path in sorted(folder.glob(f"*/{STOPPED_FILE}")):
        stage = path.parent.name
        raise TrainingError(
            f"nothing can be exported: the stage {stage} went wrong and was stopped ({path})",
            f"lower its learning rate and run soundloom train {command(stage)} again",
        )
