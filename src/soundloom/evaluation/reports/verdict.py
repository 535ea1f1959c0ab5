"""The one line that a report opens with."""

from __future__ import annotations

from soundloom.evaluation.reports.record import Report

MAX_NAMED = 4


def verdict_line(report: Report) -> str:
    """Say which gates failed, how the comparison came out, or which goals were missed."""
    parts = [part for part in (_gates(report), _comparison(report)) if part]
    if not parts:
        parts = [part for part in (_goals(report),) if part]
    failed = sum(bool(clip.failures) for clip in report.clips)
    if failed:
        parts.append(f"{failed} of {len(report.clips)} clips failed")
    return ". ".join(parts) or "No gates, goals or comparison"


def _gates(report: Report) -> str:
    if not report.gates:
        return ""
    failed = [gate.figure for gate in report.gates if gate.result == "failed"]
    undecided = [gate.figure for gate in report.gates if gate.result == "undecided"]
    total = len(report.gates)
    if failed:
        return f"{len(failed)} of {total} gates failed: {_named(failed)}"
    unsure = f", {len(undecided)} undecided: {_named(undecided)}" if undecided else ""
    return f"{total - len(undecided)} of {total} gates passed{unsure}"


def _comparison(report: Report) -> str:
    counts = dict.fromkeys(("better", "same", "different", "worse", "undecided"), 0)
    for difference in report.comparison:
        counts[difference.verdict] += 1
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def _goals(report: Report) -> str:
    with_goal = [metric for metric in report.metrics if metric.passed is not None]
    missed = [metric.name for metric in with_goal if not metric.passed]
    if not with_goal:
        return ""
    found = f"{len(with_goal) - len(missed)} of {len(with_goal)} goals reached"
    return f"{found}; missed: {_named(missed)}" if missed else found


def _named(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
