"""Callbacks of the trainer, and the log of a run as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOG_FILE = "log.jsonl"

Preview = Callable[[], Mapping[str, NDArray[np.float32]]]  # audio clips (c, n) of the current model, by name


@dataclass(frozen=True)
class StepMetrics:
    """Means over the steps since the last log."""

    step: int
    steps: int  # of the whole run
    values: Mapping[str, float]
    learning_rate: float
    seconds_per_step: float

    @property
    def seconds_left(self) -> float:
        return self.seconds_per_step * (self.steps - self.step)


class Callback:
    """Receives the trainer's events; every method does nothing by default."""

    def on_train_begin(self, step: int, steps: int) -> None:
        """Training starts or resumes at `step` of `steps`."""

    def on_step_end(self, step: int) -> None:
        """An optimizer step is done."""

    def on_log(self, metrics: StepMetrics) -> None:
        """The metrics of some steps are available."""

    def on_save(self, step: int) -> None:
        """The state after an optimizer step is on disk."""

    def on_train_end(self) -> None:
        """Training ends, is stopped or fails."""


class JsonlLogger(Callback):
    """Append one JSON object per log to a file in the stage's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE

    def on_log(self, metrics: StepMetrics) -> None:
        record = {"step": metrics.step} | {name: round(value, 5) for name, value in metrics.values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_log(folder: Path) -> Iterator[dict[str, float]]:
    """Yield the records of a run in order of steps; of repeated steps, as after a kill, only the last."""
    lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    records = {record["step"]: record for record in map(json.loads, filter(None, map(str.strip, lines)))}
    yield from (records[step] for step in sorted(records))
