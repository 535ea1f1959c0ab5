"""`soundloom eval compare`: compare reports in pairs of clips."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from soundloom.cli.options.flags import flag
from soundloom.cli.options.gates import GateOptions, print_gates
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import out_flag
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError, shown
from soundloom.folders import expanded

if TYPE_CHECKING:
    from soundloom.evaluation.reports.compare import Source
    from soundloom.evaluation.reports.gates import GateFile
    from soundloom.evaluation.reports.record import Gate, Report

MIN_REPORTS = 2
HIDDEN = ("p", "p (Wilcoxon)", "method")  # columns that only the written report has


@dataclass(frozen=True)
class Options(GateOptions, JsonOptions):
    """Compare reports with the first one, in pairs of clips: differences with intervals, p-values and a verdict each.

    soundloom eval compare fp16/ int8/ --out comparison/

    A verdict is "same" if the 90 % interval of the difference lies within the margin, "better" or "worse" if the
    difference is significant, and "undecided" otherwise.
    """

    reports: tuple[str, ...] = flag(
        nargs="+", metavar="REPORT", help="folders of reports, or report.json files; first the base"
    )
    out: str | None = out_flag(metavar="FOLDER", help="write report.json, report.md and report.html there")
    margin: tuple[str, ...] | None = flag(
        "--margin",
        action="append",
        metavar="FIGURE=VALUE",
        help="difference that does not matter, in the figure's unit; shares as 0.03",
    )


def run(options: Options) -> int:
    margins = dict(map(_margin, options.margin or ()))
    if len(options.reports) < MIN_REPORTS:
        raise RequestError("comparing needs two reports or more, found 1", "soundloom eval compare BASE OTHER")
    from soundloom.evaluation.reports.compare import Source, compare

    gates = options.read_gates()
    sources = [Source.read(expanded(path)) for path in options.reports]
    kind = sources[0].report.kind
    family, own = (gates.family(kind), gates.margins(kind)) if gates else ((), {})
    report = compare(sources[0], sources[1:], {**own, **margins}, family)
    report = replace(report, command=_command(options))
    if gates:
        report = replace(report, gates=_outcomes(gates, sources))
    if options.out:
        from soundloom.evaluation.reports.write import write_report

        folder = expanded(options.out)
        section, script = _blind_test(sources, folder)
        write_report(report, folder, extra=section, script=script)
    _print(report, options.json)
    return print_gates(report)


def _blind_test(sources: Sequence[Source], folder: Path) -> tuple[str, str]:
    """Return the part of the page with a blind test and its script, where reports have sounds in common."""
    from soundloom.evaluation.reports.blind import trials_script, trials_section
    from soundloom.evaluation.reports.record import labels
    from soundloom.evaluation.reports.trials import make_trials

    names = labels([source.report for source in sources])
    section = trials_section(make_trials(sources, folder), names)
    return section, trials_script() if section else ""


def _outcomes(gates: GateFile, sources: Sequence[Source]) -> tuple[Gate, ...]:
    """Check each report but the first; where there are several, figures are preceded by their names."""
    from soundloom.evaluation.reports.gates import check_gates
    from soundloom.evaluation.reports.record import labels

    found: list[Gate] = []
    names = labels([source.report for source in sources])
    for source, label in zip(sources[1:], names[1:], strict=True):
        checked = check_gates(replace(source.report, gates=()), gates, source.embeddings, sources[0])
        name = f"{label}: " if len(sources) > MIN_REPORTS else ""
        found += [replace(gate, figure=f"{name}{gate.figure}") for gate in checked.gates]
    return tuple(found)


def _print(report: Report, json: bool) -> None:
    if json:
        from soundloom.evaluation.reports.encode import document

        data = document(report)
        print_results({name: data[name] for name in ("verdict", "comparison", "gates", "notes")})
        return
    from soundloom.evaluation.reports.sections import comparison_section, lines
    from soundloom.evaluation.reports.verdict import verdict_line

    print_results([*lines(comparison_section(report), HIDDEN), *report.notes, verdict_line(report)])


def _margin(text: str) -> tuple[str, float]:
    figure, _, value = text.rpartition("=")
    try:
        margin = float(value)
    except ValueError:
        margin = -1.0
    if not figure or not 0 <= margin < float("inf"):
        raise RequestError(f"--margin {shown(text)} is not FIGURE=VALUE", "for example: --margin align/score=0.01")
    return figure, margin


def _command(options: Options) -> str:
    """Return the command that makes the same report."""
    words = ["soundloom", "eval", "compare", *options.reports]
    words += [word for margin in options.margin or () for word in ("--margin", margin)]
    words += ["--gates", options.gates] if options.gates else []
    return shlex.join(words)
