"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soundloom.evaluation.reports.record import Report, subject_name
from soundloom.evaluation.reports.sections import (
    Section,
    figure,
    interval,
    recipe_sections,
    reproduce_section,
    result_sections,
    run_section,
    subject_sections,
    worst_first,
)
from soundloom.evaluation.reports.verdict import verdict_line

MAX_CLIPS = 20  # worst ones; report.json has all


def markdown(report: Report, reproduce: Mapping[str, Any]) -> str:
    """Return a report as Markdown; `reproduce` is that part of report.json."""
    parts = [f"# eval {report.kind}: {_line(subject_name(report))}", _line(verdict_line(report))]
    parts += map(_section, (run_section(report), *subject_sections(report), *result_sections(report)))
    parts += map(_section, (*_curves(report), *_clips(report)))
    if report.notes:
        parts.append("## Notes\n\n" + "\n".join(f"* {_line(note)}" for note in report.notes))
    parts += map(_section, (*recipe_sections(report), reproduce_section(reproduce)))
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {_line(section.title)}"]
    if section.rows:
        rule = "|".join("---:" if column in section.numeric else "---" for column in range(len(section.columns)))
        lines = [" | ".join(map(_cell, row)) for row in (section.columns, *section.rows)]
        parts.append("\n".join(f"| {line} |" if i else f"| {line} |\n|{rule}|" for i, line in enumerate(lines)))
    return "\n\n".join([*parts, *map(_line, section.text)])


def _curves(report: Report) -> list[Section]:
    found = []
    for curve in report.curves:
        edges = curve.intervals or (None,) * len(curve.x)
        points = zip(curve.x, curve.y, edges, strict=True)
        rows = tuple((f"{x:g}", figure(y, ""), interval(edge, "")) for x, y, edge in points)
        found.append(Section(f"Curve: {curve.name}", (curve.x_label, curve.y_label, "95 % interval"), rows, (0, 1, 2)))
    return found


def _clips(report: Report) -> list[Section]:
    if not report.clips:
        return []
    names = list(dict.fromkeys(name for clip in report.clips for name in clip.figures))
    units = {metric.name: metric.unit for metric in report.metrics}
    rows = []
    for clip in worst_first(report)[:MAX_CLIPS]:
        figures = [figure(clip.figures.get(name), units.get(name, "")) for name in names]
        seed = "" if clip.seed is None else str(clip.seed)
        rows.append((clip.id, clip.prompt, seed, ", ".join(clip.failures), *figures))
    more = len(report.clips) - len(rows)
    text = (f"The other {more} clips are in report.json.",) if more else ()
    columns = ("id", "prompt", "seed", "failures", *names)
    return [Section("Clips, worst first", columns, tuple(rows), tuple(range(4, len(columns))), text)]


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(str(text).split()).replace("<", "&lt;")
