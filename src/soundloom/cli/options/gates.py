"""Options of commands whose report must meet conditions."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.cli.options.flags import flag
from soundloom.cli.terminal.streams import escaped
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.evaluation.reports.gates import GateFile
    from soundloom.evaluation.reports.record import Report


@dataclass(frozen=True)
class GateOptions:
    """Report."""

    gates: str | None = flag(
        "--gates", metavar="FILE", help="TOML file of conditions for figures; the exit code is 1 if one fails"
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for an invalid file, before any other work."""
        self.read_gates()

    def read_gates(self) -> GateFile | None:
        """Return the gates, None if no file was named. Raises ConfigError."""
        if self.gates is None:
            return None
        from soundloom.evaluation.reports.gates import GateFile

        return GateFile.read(expanded(self.gates))

    def with_gates(self, report: Report, folder: Path | None) -> Report:
        """Return a report with the outcomes of the gates; `folder` is where its embeddings are.

        Raises RequestError for gates that the report cannot meet or miss, such as those of other figures.
        """
        gates = self.read_gates()
        if gates is None:
            return report
        from soundloom.evaluation.reports.embeddings import read_embeddings
        from soundloom.evaluation.reports.gates import check_gates

        return check_gates(report, gates, read_embeddings(folder) if folder else None)


def print_gates(report: Report) -> int:
    """Print the gates that did not pass to stderr; return the exit code."""
    if not report.gates:
        return 0
    from soundloom.evaluation.reports.gates import failed_gates, gate_lines

    for line in gate_lines(report.gates):
        sys.stderr.write(escaped(f"gate {line}\n"))
    return int(failed_gates(report))
