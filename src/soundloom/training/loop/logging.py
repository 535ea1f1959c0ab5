"""Who is told how a run goes: the journal, TensorBoard, the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class StepMetrics:
    """Means over the steps since the last report; `rate` is the learning rate, `pace` seconds per step."""

    step: int
    steps: int
    values: Mapping[str, float]
    rate: float
    pace: float

    @property
    def seconds_left(self) -> float:
        return self.pace * (self.steps - self.step)


class Callback:
    """Is told of every step and of every report; does nothing by itself."""

    def on_train_begin(self, step: int, steps: int) -> None:
        """Training begins or goes on at a step."""

    def on_step_end(self, step: int) -> None:
        """One more step is done."""

    def on_log(self, metrics: StepMetrics) -> None:
        """Some steps are summed up."""

    def on_train_end(self) -> None:
        """Training ends or is interrupted."""


class JsonlLogger(Callback):
    """One JSON object a line in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE

    def on_log(self, metrics: StepMetrics) -> None:
        record = {"step": metrics.step} | {name: round(value, 5) for name, value in metrics.values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_log(folder: Path) -> Iterator[dict[str, float]]:
    """Records of a run in order of steps; what was repeated after a kill counts once."""
    lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    records = {record["step"]: record for record in map(json.loads, filter(None, map(str.strip, lines)))}
    yield from (records[step] for step in sorted(records))
