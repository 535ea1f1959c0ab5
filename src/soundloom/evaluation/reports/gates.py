"""Gates: conditions that the figures of a report must meet, from a TOML file.

    [[gate]]                          # absolute
    figure = "edit/changed_samples"   # * matches several figures
    at_most = 0

    [[gate]]                          # an edge of the 95 % interval instead of the value
    figure = "seam/detectability"
    of = "high"
    at_most = 0.65

    [[gate]]                          # against a stored report, whose path is relative to this file
    figure = "align/score"
    report = "baseline"
    margin = 0.01                     # by default that of `eval compare`

    [[gate]]                          # against another figure of the same report, which no model can pass
    figure = "control/pitch_within_50_cents"
    ceiling = "control/pitch_within_50_cents_ceiling"
    margin = 0.1

A gate with a figure and a margin alone is for `eval compare`: against its first report. `kind = "edits"` limits a gate
to reports of that kind, so that commands can share a file. The figure `failures` is the share of failed clips.

A relative gate fails where the whole 95 % interval of the paired difference lies beyond the margin on the bad side,
and passes where the whole interval is on the good side of the margin; else it is undecided, which is a warning. A
figure that is better neither higher nor lower may move by the margin either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Literal

from soundloom.config.toml import read_toml
from soundloom.errors import ConfigError, RequestError, printable
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.comparable import require_comparable
from soundloom.evaluation.reports.compare import Source, differences_between, paired_difference
from soundloom.evaluation.reports.embeddings import StoredEmbeddings
from soundloom.evaluation.reports.margins import margin_of
from soundloom.evaluation.reports.pairs import FAILURES, pair_clips
from soundloom.evaluation.reports.record import Difference, Gate, GateResult, Report
from soundloom.evaluation.reports.sections import figure, signed, signed_interval
from soundloom.evaluation.statistics.intervals import wilson


@dataclass(frozen=True)
class Rule:
    """One gate of a file; see the module."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    of: Literal["value", "low", "high"] = "value"
    report: str | None = None
    ceiling: str | None = None
    margin: float | None = None
    kind: str | None = None

    @property
    def is_absolute(self) -> bool:
        return self.at_most is not None or self.at_least is not None

    @property
    def is_relative_to_base(self) -> bool:
        return not self.is_absolute and self.report is None and self.ceiling is None


@dataclass(frozen=True)
class GateFile:
    """The gates of a file, and the folder that paths of reports are relative to."""

    rules: tuple[Rule, ...]
    folder: Path

    @classmethod
    def read(cls, path: str | Path) -> GateFile:
        """Read a TOML file. Raises ConfigError, also for gates without a condition or with two."""
        path = Path(path)
        rules = read_toml(_Table, path).gate
        if not rules:
            raise ConfigError(f"{printable(path)} has no gates", "a gate begins with [[gate]] and names a figure")
        for rule in rules:
            if sum((rule.is_absolute, rule.report is not None, rule.ceiling is not None)) > 1:
                raise ConfigError(
                    f"the gate of {rule.figure} in {printable(path)} has two conditions",
                    "use one of at_most or at_least, report, ceiling",
                )
        return cls(rules, path.parent)

    def family(self, kind: str) -> tuple[str, ...]:
        """Return the figures of gates against the base of a comparison of such reports."""
        return tuple(rule.figure for rule in self._against_base(kind))

    def margins(self, kind: str) -> dict[str, float]:
        """Return the margins of these gates."""
        return {rule.figure: rule.margin for rule in self._against_base(kind) if rule.margin is not None}

    def _against_base(self, kind: str) -> list[Rule]:
        rules = [rule for rule in self.rules if rule.kind in (None, kind)]
        return [rule for rule in rules if rule.is_relative_to_base and "*" not in rule.figure]


@dataclass(frozen=True)
class _Table:
    gate: tuple[Rule, ...] = ()


def check_gates(
    report: Report,
    gates: GateFile,
    embeddings: Mapping[str, StoredEmbeddings] | None = None,
    base: Source | None = None,
) -> Report:
    """Return the report with the outcome of each gate; `base` is what gates without a condition are relative to.

    Raises RequestError for a gate whose figure the report does not have, or whose report is not comparable.
    """
    found: list[Gate] = []
    current = Source(report, Path(), embeddings or {})
    known: dict[str, Mapping[str, Difference]] = {}
    for rule in gates.rules:
        if rule.kind is not None and rule.kind != report.kind:
            continue
        for name in _figures(rule, report):
            if rule.is_absolute:
                found.append(_absolute(rule, _metric(report, name)))
            elif rule.ceiling is not None:
                found.append(_against_ceiling(rule, name, report))
            else:
                against = _base(rule, gates, base)
                key = rule.report or ""
                if key not in known:
                    known[key] = _differences(against, current)
                found.append(_relative(rule, name, known[key]))
    return replace(report, gates=(*report.gates, *found))


def failed_gates(report: Report) -> bool:
    """Return whether a gate failed."""
    return any(gate.result == "failed" for gate in report.gates)


def _figures(rule: Rule, report: Report) -> list[str]:
    """Return the names of figures that a gate is for. Raises RequestError if there is none."""
    names = [*dict.fromkeys([metric.name for metric in report.metrics] + [n for c in report.clips for n in c.figures])]
    found = [name for name in (*names, FAILURES) if fnmatchcase(name, rule.figure)]
    if not found:
        raise RequestError(
            f"the report has no figure {rule.figure}, which a gate names",
            f'figures: {", ".join(names)}; kind = "…" limits a gate to reports of a kind',
        )
    return found


def _metric(report: Report, name: str) -> Metric:
    found = next((metric for metric in report.metrics if metric.name == name), None)
    if found is not None:
        return found
    if name != FAILURES:
        raise RequestError(f"{name} has a value for each clip but none for the report", "gate a figure of the report")
    count = len(report.clips)
    share = sum(bool(clip.failures) for clip in report.clips) / max(count, 1)
    return Metric(FAILURES, share, count, wilson(share, count) if count else None, unit="%", direction="lower")


def _absolute(rule: Rule, metric: Metric) -> Gate:
    edge = {"low": 0, "high": 1}.get(rule.of)
    value = metric.value if edge is None else metric.interval[edge] if metric.interval else float("nan")
    bounds = [("at most", rule.at_most), ("at least", rule.at_least)]
    condition = " and ".join(f"{word} {figure(bound, metric.unit)}" for word, bound in bounds if bound is not None)
    within = (rule.at_most is None or value <= rule.at_most) and (rule.at_least is None or value >= rule.at_least)
    condition = condition if edge is None else f"{rule.of} edge of the interval {condition}"
    result: GateResult = "passed" if within else "failed"  # also for values that are not a number
    return Gate(metric.name, condition, result, figure(value, metric.unit))


def _base(rule: Rule, gates: GateFile, base: Source | None) -> Source:
    if rule.report is not None:
        return Source.read(gates.folder / rule.report)
    if base is None:
        raise RequestError(
            f"the gate of {rule.figure} has no condition", "add at_most, at_least, report or ceiling; or use compare"
        )
    return base


def _differences(base: Source, current: Source) -> dict[str, Difference]:
    require_comparable(base.report, current.report)
    return {item.figure: item for item in differences_between(base, current, {})[0]}


def _relative(rule: Rule, name: str, differences: Mapping[str, Difference]) -> Gate:
    if name not in differences:
        raise RequestError(f"the stored report has no figure {name}, which a gate names", "measure it again")
    return judge(differences[name], rule.margin, rule.report or "the base")


def judge(item: Difference, margin: float | None, against: str) -> Gate:
    """Return the outcome of a relative gate; without any margin, no loss is allowed."""
    margin = margin if margin is not None else item.margin if item.margin is not None else 0.0
    unit = item.unit
    sign = -1.0 if item.direction == "lower" else 1.0  # of a gain
    low, high = sorted(sign * edge for edge in item.interval or (item.difference, item.difference))
    either = not item.direction
    result: GateResult = "undecided"
    if not (isfinite(low) and isfinite(high)) or high < -margin or (either and low > margin):
        result = "failed"
    elif low >= -margin and (not either or high <= margin):
        result = "passed"
    word = "away from" if either else "above" if item.direction == "lower" else "below"
    condition = f"not more than {signed(margin, unit).lstrip('+')} {word} {against}"
    edges = f" ({signed_interval(item.interval, unit)})" if item.interval else ""
    return Gate(item.figure, condition, result, f"{signed(item.difference, unit)}{edges}")


def _against_ceiling(rule: Rule, name: str, report: Report) -> Gate:
    """Compare a figure with another one of the same report, in pairs where clips have both."""
    assert rule.ceiling is not None
    if not any(rule.ceiling in clip.figures for clip in report.clips):
        if not any(metric.name == rule.ceiling for metric in report.metrics):
            raise RequestError(f"the report has no figure {rule.ceiling}, which a gate has as ceiling")
        return judge(_unpaired(_metric(report, rule.ceiling), _metric(report, name)), rule.margin, rule.ceiling)
    moved = [
        replace(clip, figures={name: clip.figures[rule.ceiling]} if rule.ceiling in clip.figures else {})
        for clip in report.clips
    ]
    metric = next((metric for metric in report.metrics if metric.name == name), None)
    margin = margin_of(name, metric, {})
    item = paired_difference(name, pair_clips(moved, report.clips), moved, report.clips, metric, margin)
    if item is None:
        return judge(_unpaired(_metric(report, rule.ceiling), _metric(report, name)), rule.margin, rule.ceiling)
    return judge(item, rule.margin, rule.ceiling)


def _unpaired(base: Metric, value: Metric) -> Difference:
    step = value.value - base.value
    count = min(base.count, value.count)
    return Difference(
        *(value.name, base.value, value.value, step, count, "undecided"),
        unit=value.unit,
        direction=value.direction,
        margin=margin_of(value.name, value, {}),
    )


def gate_lines(gates: Sequence[Gate]) -> list[str]:
    """Return one line for each gate that did not pass."""
    return [f"{gate.result}: {gate.figure} {gate.found}, {gate.condition}" for gate in gates if gate.result != "passed"]
