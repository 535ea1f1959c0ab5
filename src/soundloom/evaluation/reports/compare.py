"""Compare reports in pairs of clips: differences with intervals, tests and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soundloom.errors import RequestError
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.comparable import require_comparable
from soundloom.evaluation.reports.embeddings import StoredEmbeddings, read_embeddings
from soundloom.evaluation.reports.margins import margin_of
from soundloom.evaluation.reports.pairs import (
    FAILURES,
    PairedValues,
    Pairs,
    are_identical,
    common_figures,
    pair_clips,
    paired_values,
)
from soundloom.evaluation.reports.record import ClipRecord, Difference, Report, Verdict, labels
from soundloom.evaluation.reports.stored_sets import set_differences
from soundloom.evaluation.reports.write import read_report, report_path
from soundloom.evaluation.statistics.adjust import benjamini_hochberg, holm
from soundloom.evaluation.statistics.intervals import LEVEL, Interval, bca, percentiles, resample_indices
from soundloom.evaluation.statistics.tests import EQUIVALENT_PAIRS, mcnemar, sign_flip, wilcoxon

SIGNIFICANT = 0.05
NARROW = 0.90  # level of the interval that decides about equivalence
SKEWED = 1.0  # skewness from which intervals are BCa
MIN_PAIRS = 2
ROUNDING = 1e-12  # relative, of differences that are equal
RESAMPLES = 10_000
MAX_DRAWN = 2**24  # indices of resamples at once

Direction = Literal["higher", "lower", ""]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A report with its folder and the embeddings there."""

    report: Report
    folder: Path
    embeddings: Mapping[str, StoredEmbeddings]

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a report and its embeddings. Raises ConfigError, CorruptFileError."""
        folder = report_path(path).parent
        return cls(read_report(path), folder, read_embeddings(folder))


def compare(
    base: Source, others: Sequence[Source], margins: Mapping[str, float] | None = None, family: Sequence[str] = ()
) -> Report:
    """Compare reports with the first one; return a report of the differences.

    `margins` are by the names of figures, in their units. Verdicts rest on p-values that Holm's method adjusts within
    `family`, by default all figures with a margin; those of other figures are adjusted by Benjamini and Hochberg's,
    for exploration. Raises RequestError for reports that are not comparable.
    """
    for other in others:
        require_comparable(base.report, other.report)
    chosen = margins or {}
    differences: list[Difference] = []
    notes: list[str] = []
    names = labels([base.report, *(other.report for other in others)])
    for other, name in zip(others, names[1:], strict=True):
        found, remarks = differences_between(base, other, chosen)
        if unknown := [name for name in (*chosen, *family) if name not in {item.figure for item in found}]:
            raise RequestError(
                f"the reports have no figure {unknown[0]}", f"figures: {', '.join(item.figure for item in found)}"
            )
        differences += [replace(item, subject=name) for item in found]
        notes += remarks
    differences = with_verdicts(differences, family)
    if len(others) == 1:
        differences = [replace(item, subject="") for item in differences]
    subjects = [base.report.subject, *(other.report.subject for other in others)]
    described = {name: _distinct_fields(subject, subjects) for name, subject in zip(names, subjects, strict=True)}
    return Report(
        "compare",
        {"name": f"{' and '.join(names[1:])} against {names[0]}", "base": names[0], **described},
        base.report.data,
        (),
        base.report.recipes,
        comparison=tuple(differences),
        notes=tuple(dict.fromkeys(notes)),
    )


def _distinct_fields(subject: Mapping[str, object], subjects: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the fields of a subject that other subjects have otherwise."""
    return {key: value for key, value in subject.items() if any(one.get(key) != value for one in subjects)}


def differences_between(
    base: Source, other: Source, margins: Mapping[str, float]
) -> tuple[list[Difference], list[str]]:
    """Return the differences of two comparable reports without verdicts, and notes."""
    first, second = base.report, other.report
    pairs = pair_clips(first.clips, second.clips)
    found: list[Difference] = []
    notes: list[str] = []
    if pairs.left_out:
        notes.append(f"{pairs.left_out} clips have no partner in the other report and are left out")
    if len(pairs.indices):
        for figure in (*common_figures(first.clips, second.clips), FAILURES):
            metric = _metric(first, figure)
            margin = margin_of(figure, metric, margins, _unit(figure))
            item = paired_difference(figure, pairs, first.clips, second.clips, metric, margin, notes)
            found += [item] if item else []
    sets, remarks = _set_differences(base, other, pairs, margins)
    found += sets
    identical = len(pairs.indices) > 0 and are_identical(pairs, first.clips, second.clips)
    if identical:
        found = [
            replace(item, interval=(0.0, 0.0), narrow=(0.0, 0.0)) if not item.difference else item for item in found
        ]
    measured = {item.figure for item in found}
    found += [
        _unpaired(metric, found_metric, margins.get(metric.name), identical)
        for metric in first.metrics
        if metric.name not in measured and metric.direction and (found_metric := _metric(second, metric.name))
    ]
    return found, [*notes, *remarks]


def _set_differences(
    base: Source, other: Source, pairs: Pairs, margins: Mapping[str, float]
) -> tuple[list[Difference], list[str]]:
    sets, notes = set_differences(base.report, base.embeddings, other.report, other.embeddings, pairs)
    found = []
    for metric, difference in sets:
        margin = margin_of(metric.name, metric, margins)
        found.append(replace(difference, margin=margin))
    return found, notes


def _metric(report: Report, name: str) -> Metric | None:
    return next((metric for metric in report.metrics if metric.name == name), None)


def _unit(figure: str) -> str:
    return "%" if figure == FAILURES else ""


def _unpaired(metric: Metric, other: Metric, margin: float | None, identical: bool) -> Difference:
    """Return the difference of two figures that have neither pairs nor embeddings.

    They are the same only where they are equal and either exact, without an interval, or of identical clips.
    """
    count, direction, step = min(metric.count, other.count), metric.direction, other.value - metric.value
    verdict: Verdict = "same" if step == 0 and (identical or metric.interval is None) else "undecided"
    return Difference(
        *(metric.name, metric.value, other.value, step, count, verdict),
        margin=margin,
        unit=metric.unit,
        direction=direction,
        method="no pairs",
    )


def paired_difference(
    figure: str,
    pairs: Pairs,
    base: Sequence[ClipRecord],
    other: Sequence[ClipRecord],
    metric: Metric | None,
    margin: float | None,
    notes: list[str] | None = None,
) -> Difference | None:
    """Return the difference of a figure over pairs of clips; None where no pair has it. Adds to `notes`."""
    values = paired_values(pairs, base, other, figure)
    if values.missing and notes is not None:
        notes.append(f"{figure}: {values.missing} of {len(pairs.indices)} pairs lack a value")
    return difference_of(figure, values, metric, margin) if len(values.base) else None


def difference_of(figure: str, values: PairedValues, metric: Metric | None, margin: float | None) -> Difference:
    """Return the mean paired difference of a figure with its intervals and p-values; the verdict comes later."""
    steps = values.differences
    direction: Direction = "lower" if figure == FAILURES else metric.direction if metric else ""
    common = Difference(
        figure,
        float(values.base.mean()),
        float(values.other.mean()),
        float(steps.mean()),
        len(steps),
        "undecided",
        margin=margin,
        unit=metric.unit if metric else _unit(figure),
        direction=direction,
    )
    if len(steps) < MIN_PAIRS:
        return replace(common, method="one pair")
    if common.unit == "%" and (values.are_labels or not steps.any()):
        interval, narrow, name = label_interval(steps), label_interval(steps, NARROW), "Agresti-Min"
    else:
        interval, narrow, name = mean_intervals(steps)
    p, test = _paired_test(values)
    method = f"{name} over {values.unit}, {test}"
    return replace(
        common,
        interval=interval,
        narrow=narrow,
        p=p,
        p_check=wilcoxon(steps).p,
        method=method,
    )


def mean_intervals(steps: Floats, seed: int = 0) -> tuple[Interval, Interval, str]:
    """Return the 95 % and 90 % bootstrap intervals of a mean, and the name of the method: BCa for skewed values."""
    count = len(steps)
    indices = resample_indices(count, min(RESAMPLES, max(1000, MAX_DRAWN // count)), seed)
    deviation = float(steps.std())
    is_rounding = deviation <= ROUNDING * float(np.abs(steps).max())
    if not is_rounding and abs(float(((steps - steps.mean()) ** 3).mean())) > SKEWED * deviation**3:
        return bca(list(steps), indices).interval, bca(list(steps), indices, NARROW).interval, "BCa bootstrap"
    means = steps[indices].mean(axis=1)
    return percentiles(means), percentiles(means, NARROW), "bootstrap"


def label_interval(steps: Floats, level: float = LEVEL) -> Interval:
    """Return the interval of a difference of shares from paired labels: steps are -1, 0 or 1.

    A bootstrap of few labels without any difference would be certain that there is none. Source: Agresti and Min 2005,
    half a pair added to each of the four outcomes.
    """
    gained, lost = (steps > 0).sum() + 0.5, (steps < 0).sum() + 0.5
    count = len(steps) + 2
    center = (gained - lost) / count
    deviation = np.sqrt(gained + lost - (gained - lost) ** 2 / count) / count
    reach = NormalDist().inv_cdf((1 + level) / 2) * deviation
    return float(max(center - reach, -1.0)), float(min(center + reach, 1.0))


def _paired_test(values: PairedValues) -> tuple[float, str]:
    """McNemar's exact test for labels that are right or wrong, else sign flips."""
    if values.are_labels:
        steps = values.differences
        return mcnemar(int((steps < 0).sum()), int((steps > 0).sum())), "McNemar's test"
    return sign_flip(values.differences).p, "sign flips"


def with_verdicts(differences: Sequence[Difference], family: Sequence[str] = ()) -> list[Difference]:
    """Adjust the p-values of differences and decide about each."""
    tested = [index for index, item in enumerate(differences) if item.p is not None]
    inside = [i for i in tested if (differences[i].figure in family if family else differences[i].margin is not None)]
    outside = [index for index in tested if index not in inside]
    found = list(differences)
    for indices, adjust, name in ((inside, holm, "Holm"), (outside, benjamini_hochberg, "Benjamini-Hochberg")):
        adjusted = adjust([found[index].p or 0.0 for index in indices]) if indices else np.zeros(0)
        for index, p in zip(indices, adjusted, strict=True):
            item = replace(found[index], p_adjusted=float(p))
            found[index] = replace(item, verdict=verdict_of(item), method=f"{item.method}, {name} of {len(indices)}")
    return found


def verdict_of(item: Difference) -> Verdict:
    """Decide about a difference: "same" if its 90 % interval lies within the margin, else by its adjusted p-value."""
    if item.narrow is None or item.interval is None or item.p_adjusted is None:
        return item.verdict
    low, high = item.narrow
    is_within = item.margin is not None and -item.margin < low and high < item.margin
    if low == high == item.difference == 0 or (is_within and item.count >= EQUIVALENT_PAIRS):
        return "same"
    if item.p_adjusted >= SIGNIFICANT or item.difference == 0:
        return "undecided"
    if not item.direction:
        return "different"
    return "better" if (item.difference > 0) == (item.direction == "higher") else "worse"
