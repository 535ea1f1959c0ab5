"""`soundloom eval compare`: compare reports in pairs of clips."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from soundloom.cli.options.flags import flag
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.options.shared import out_flag
from soundloom.cli.terminal.results import print_results
from soundloom.errors import RequestError, shown
from soundloom.folders import expanded

MIN_REPORTS = 2
HIDDEN = ("p", "p (Wilcoxon)", "method")  # columns that only the written report has


@dataclass(frozen=True)
class Options(JsonOptions):
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


def run(options: Options) -> None:
    margins = dict(map(_margin, options.margin or ()))
    if len(options.reports) < MIN_REPORTS:
        raise RequestError("comparing needs two reports or more, found 1", "soundloom eval compare BASE OTHER")
    from soundloom.evaluation.reports.compare import Source, compare

    sources = [Source.read(expanded(Path(path))) for path in options.reports]
    report = replace(compare(sources[0], sources[1:], margins), command=_command(options))
    if options.out:
        from soundloom.evaluation.reports.write import write_report

        write_report(report, expanded(Path(options.out)))
    if options.json:
        from soundloom.evaluation.reports.encode import to_json

        print_results({"comparison": [to_json(asdict(one)) for one in report.comparison], "notes": list(report.notes)})
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
    return shlex.join(words)
