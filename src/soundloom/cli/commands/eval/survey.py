"""`soundloom eval survey`: make a blind listening test from reports, and evaluate its answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import cast

from soundloom.cli.measuring import finish_report
from soundloom.cli.options.evaluation import ReportOptions
from soundloom.cli.options.flags import flag
from soundloom.cli.terminal.streams import escaped
from soundloom.errors import RequestError
from soundloom.folders import expanded


@dataclass(frozen=True)
class Options(ReportOptions):
    """Make a blind listening test of two or more reports, or evaluate the answers to one.

    soundloom eval survey small/ medium/ --out test/

    soundloom eval survey test/

    Listeners get the folder page/ and send back a JSON file each, for the folder answers/. The second command then
    prints how often each report was preferred, and strengths by Bradley and Terry's model, or mean marks.
    """

    folders: tuple[str, ...] = flag(nargs="+", metavar="FOLDER", help="folders of reports, or the folder of a survey")
    form: str = flag(
        "--form",
        default="pairwise",
        choices=("pairwise", "marks"),
        help="choose the better of two sounds, or give marks from 0 to 100 to one of each report",
    )
    trials: int = flag("--trials", default=12, type=int, metavar="N", help="trials for each listener")
    title: str = flag("--title", default="Listening test", metavar="TEXT", help="title of the page")


def run(options: Options) -> int:
    if options.trials < 1:
        raise RequestError(f"--trials must be 1 or more, found {options.trials}")
    if len(options.folders) == 1:
        from soundloom.evaluation.reports.survey import survey_report

        return finish_report(survey_report(expanded(options.folders[0])), options, {})
    folder = options.folder
    if folder is None:
        raise RequestError("a survey of reports needs --out", "soundloom eval survey A B --out FOLDER")
    from soundloom.evaluation.reports.compare import Source
    from soundloom.evaluation.reports.survey import PAGE_FOLDER, write_survey
    from soundloom.evaluation.reports.trials import Kind

    sources = [Source.read(expanded(path)) for path in options.folders]
    survey = write_survey(sources, folder, cast(Kind, options.form), options.trials, options.title)
    page = folder / PAGE_FOLDER
    sys.stderr.write(escaped(f"wrote {len(survey.trials)} trials to {page}: send this folder to listeners\n"))
    return 0
