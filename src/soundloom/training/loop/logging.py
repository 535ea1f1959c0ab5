"""Who is told how a run goes: the journal, TensorBoard, the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True)
class Report:
    """Means over the steps since the last report; `rate` is the learning rate, `pace` seconds per step."""

    step: int
    steps: int
    values: Mapping[str, float]
    rate: float
    pace: float

    @property
    def seconds_left(self) -> float:
        return self.pace * (self.steps - self.step)


class Observer:
    """Is told of every step and of every report; does nothing by itself."""

    def begin(self, step: int, steps: int) -> None:
        """Training begins or goes on at a step."""

    def advance(self, step: int) -> None:
        """One more step is done."""

    def report(self, report: Report) -> None:
        """Some steps are summed up."""

    def end(self) -> None:
        """Training ends or is interrupted."""


class Journal(Observer):
    """One JSON object a line in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_FILE

    def report(self, report: Report) -> None:
        record = {"step": report.step} | {name: round(value, 5) for name, value in report.values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_journal(folder: Path) -> Iterator[dict[str, float]]:
    """Records of a run in order of steps; what was repeated after a kill counts once."""
    lines = (folder / JOURNAL_FILE).read_text(encoding="utf-8").splitlines()
    records = {record["step"]: record for record in map(json.loads, filter(None, map(str.strip, lines)))}
    yield from (records[step] for step in sorted(records))
