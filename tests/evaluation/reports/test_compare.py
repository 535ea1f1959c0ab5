import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundloom.errors import RequestError
from soundloom.evaluation.distances.frechet import Factor, frechet_distance
from soundloom.evaluation.distances.kernel import kernel_distance, median_distance
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.compare import Source, compare, verdict_of, with_verdicts
from soundloom.evaluation.reports.embeddings import (
    StoredEmbeddings,
    StoredReference,
    read_embeddings,
    write_embeddings,
)
from soundloom.evaluation.reports.margins import default_margin
from soundloom.evaluation.reports.pairs import pair_clips, paired_values
from soundloom.evaluation.reports.record import ClipRecord, Difference, Report, labels
from soundloom.evaluation.reports.set_differences import (
    Rows,
    frechet_difference,
    kernel_difference,
    prompt_weights,
    weighted_frechet,
)
from soundloom.evaluation.reports.write import read_report, write_report
from tests.evaluation.reports.made import RECIPE, made_report


def source(report: Report, embeddings: dict[str, StoredEmbeddings] | None = None) -> Source:
    return Source(report, Path(), embeddings or {})


def verdicts(report: Report) -> dict[str, str]:
    return {item.figure: item.verdict for item in report.comparison}


def score_report(scores: np.ndarray, direction: str = "higher", figure: str = "align/score", **changes) -> Report:
    clips = tuple(ClipRecord(f"p{i}@1", seed=1, figures={figure: float(score)}) for i, score in enumerate(scores))
    metric = Metric(figure, float(scores.mean()), len(scores), direction=direction, recipe=RECIPE)
    return replace(made_report(1), clips=clips, metrics=(metric,), **changes)


def normal(count: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(count)


def test_a_report_is_the_same_as_itself():
    report = made_report(60)
    found = compare(source(report), [source(report)])
    assert verdicts(found) == {"align/score": "same", "codec/log_mel": "same", "failures": "same"}
    assert all(item.difference == 0 for item in found.comparison)


@pytest.mark.parametrize(
    ("step", "direction", "verdict"),
    [(0.04, "higher", "better"), (-0.04, "higher", "worse"), (0.04, "lower", "worse"), (0.04, "", "different")],
)
def test_a_difference_beyond_the_margin_is_better_or_worse(step, direction, verdict):
    scores = 0.35 + 0.1 * normal(200)
    base = score_report(scores, direction)
    other = score_report(scores + step + 0.02 * normal(200, 1), direction)
    assert verdicts(compare(source(base), [source(other)]))["align/score"] == verdict


def test_a_difference_within_the_margin_is_the_same_even_where_it_is_significant():
    scores = 0.35 + 0.1 * normal(400)
    other = score_report(scores + 0.004 + 0.01 * normal(400, 1))
    found = compare(source(score_report(scores)), [source(other)]).comparison[0]
    assert found.p_adjusted < 0.01
    assert found.verdict == "same"


def test_few_clips_leave_a_difference_undecided():
    scores = 0.35 + 0.1 * normal(12)
    other = score_report(scores + 0.02 + 0.1 * normal(12, 1))
    found = compare(source(score_report(scores)), [source(other)]).comparison[0]
    assert found.verdict == "undecided"
    assert found.interval[0] < found.difference < found.interval[1]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_clips_are_compared_without_a_verdict(count):
    report = score_report(normal(count))
    other = score_report(normal(count, 1))
    assert verdicts(compare(source(report), [source(other)]))["align/score"] == "undecided"


def test_seeds_of_a_prompt_count_as_one():
    clips = tuple(ClipRecord(f"p{i}@{s}", seed=s, figures={"x": 1.0 + s}) for i in range(3) for s in (1, 2))
    values = paired_values(pair_clips(clips, clips), clips, clips, "x")
    assert values.base.tolist() == [2.5, 2.5, 2.5]
    assert not values.single


def test_edits_of_a_sound_count_as_one():
    clips = [
        ClipRecord(f"s{i} region {k}", seed=seed, figures={"x": float(i + k)}, source=f"s{i}")
        for i in range(3)
        for k in (0, 2)
        for seed in (1, 2)
    ]
    pairs = pair_clips(clips, clips)
    assert len(pairs.indices) == 12
    assert paired_values(pairs, clips, clips, "x").base.tolist() == [1.0, 2.0, 3.0]
    report = replace(made_report(1), clips=tuple(clips), metrics=(Metric("x", 2.0, 3, direction="higher"),))
    (found, _) = compare(source(report), [source(report)]).comparison
    assert found.count == 3 and "over sources" in found.method


def test_the_larger_report_is_cut_to_common_clips_and_other_seeds_pair_by_prompt():
    first = [ClipRecord(f"p{i}@{s}", seed=s) for i in range(3) for s in (1, 2)]
    pairs = pair_clips(first, [clip for clip in reversed(first) if clip.seed == 2])
    assert [(first[i].id, pairs.prompts[k]) for k, (i, _) in enumerate(pairs.indices)] == [
        ("p0@2", "p0"),
        ("p1@2", "p1"),
        ("p2@2", "p2"),
    ]
    assert pairs.left_out == 3
    others = [ClipRecord(f"p{i}@{s}", seed=s) for i in (2, 0) for s in (9, 8, 7)]
    pairs = pair_clips(first, others)
    assert [others[j].id for _, j in pairs.indices] == ["p0@7", "p0@8", "p2@7", "p2@8"]


def test_failed_clips_are_compared_and_missing_values_are_counted():
    base = made_report(40)
    clips = tuple(
        replace(clip, failures=("silent",), figures={}) if index % 2 else clip for index, clip in enumerate(base.clips)
    )
    found = compare(source(base), [source(replace(base, clips=clips))])
    failures = next(item for item in found.comparison if item.figure == "failures")
    assert failures.verdict == "worse"
    assert "McNemar" in failures.method
    assert "align/score: 20 of 40 pairs lack a value" in found.notes


@pytest.mark.parametrize(("count", "verdict"), [(4, "undecided"), (30, "undecided"), (100, "same")])
def test_few_labels_without_a_difference_do_not_prove_that_there_is_none(count, verdict):
    """Other figures differ, so these are not the same clips."""
    reports = []
    for seed in (0, 1):
        clips = tuple(
            ClipRecord(f"p{i}", figures={"right": 1.0, "score": float(score)})
            for i, score in enumerate(normal(count, seed))
        )
        metric = Metric("right", 1.0, count, unit="%", direction="higher")
        reports.append(source(replace(made_report(1), clips=clips, metrics=(metric,))))
    assert verdicts(compare(reports[0], reports[1:]))["right"] == verdict
    assert verdicts(compare(reports[0], reports[:1]))["right"] == "same"


def test_figures_that_clips_do_not_have_are_not_missing():
    clips = tuple(ClipRecord(f"p{i}", figures={"tempo": 1.0} if i < 5 else {"pitch": 2.0}) for i in range(10))
    report = replace(made_report(1), clips=clips)
    assert not compare(source(report), [source(report)]).notes


def test_figures_without_pairs_are_the_same_only_where_they_are_equal():
    kept = Metric("edit/kept_samples", 0, 4, goal=0, bound="at most", direction="lower")
    base = replace(made_report(), metrics=(kept,), clips=())
    other = replace(base, metrics=(replace(kept, value=3),))
    assert verdicts(compare(source(base), [source(base)])) == {"edit/kept_samples": "same"}
    assert verdicts(compare(source(base), [source(other)])) == {"edit/kept_samples": "undecided"}


def test_equal_shares_without_pairs_are_the_same_only_for_identical_clips():
    share = Metric("set/clipped", 0.1, 20, (0.03, 0.3), unit="%", direction="lower")
    reports = [source(replace(score_report(normal(20, seed)), metrics=(share,))) for seed in (0, 1)]
    assert verdicts(compare(reports[0], reports[1:]))["set/clipped"] == "undecided"
    assert verdicts(compare(reports[0], reports[:1]))["set/clipped"] == "same"


def test_a_chosen_margin_replaces_the_default_one():
    scores = 0.35 + 0.1 * normal(200)
    reports = [source(score_report(scores)), source(score_report(scores + 0.04 + 0.02 * normal(200, 1)))]
    found = compare(reports[0], reports[1:], {"align/score": 0.1}).comparison[0]
    assert (found.verdict, found.margin) == ("same", 0.1)
    with pytest.raises(RequestError, match="no figure align/scor\n"):
        compare(reports[0], reports[1:], {"align/scor": 0.1})


def test_several_reports_are_compared_with_the_first():
    scores = 0.35 + 0.1 * normal(200)
    reports = [
        source(score_report(scores + step + 0.02 * normal(200, 1), subject={"name": name}))
        for name, step in (("a", 0.0), ("b", 0.05), ("c", -0.05))
    ]
    found = compare(reports[0], reports[1:]).comparison
    assert [(item.subject, item.figure, item.verdict) for item in found] == [
        ("b", "align/score", "better"),
        ("b", "failures", "same"),
        ("c", "align/score", "worse"),
        ("c", "failures", "same"),
    ]


def test_equal_names_are_told_apart_by_what_differs():
    same = {"model": "mini", "engine": "torch"}
    reports = [replace(made_report(), subject=same | {"precision": name}) for name in ("fp32", "int8")]
    assert labels(reports) == ["mini (fp32)", "mini (int8)"]
    assert labels([reports[0], reports[0]]) == ["mini [1]", "mini [2]"]
    found = compare(source(reports[0]), [source(reports[1])])
    assert found.subject["name"] == "mini (int8) against mini (fp32)"
    assert found.subject["mini (int8)"] == {"precision": "int8"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "edits"}, "the kind of report differs, set against edits"),
        (
            {"data": {"manifest": "12" * 32, "reference_hash": "ef" * 32}},
            "list of clips differs, cdcdcdcdcdcd against 1212",
        ),
        ({"data": {"manifest": "cd" * 32, "reference_hash": "12" * 32}}, "reference differs, efefefefefef against 12"),
        (
            {"data": {"manifest": "cd" * 32, "reference": "rain", "reference_hash": "12" * 32}},
            r"reference differs, efefefefefef against rain \(12",
        ),
        (
            {"recipes": {"ffff": {"name": "soundloom", "rate": 44100}}},
            "field rate of the recipe differs, 48000 against",
        ),
        ({"recipes": {}}, "the recipe differs, abcdef012345 against none"),
        (
            {"metrics": (Metric("align/score", 1, 1, embedder="ab"),)},
            "the recipe of align/score differs, abcdef012345 ag",
        ),
    ],
)
def test_other_recipes_and_data_are_refused_by_the_field_that_differs(changes, message):
    with pytest.raises(RequestError, match=f"reports of made and made cannot be compared: .*{message}"):
        compare(source(made_report()), [source(replace(made_report(), **changes))])


# Set distances


def stored(rows: np.ndarray, reference: np.ndarray, clips: np.ndarray | None = None) -> StoredEmbeddings:
    numbers = np.arange(len(rows)) if clips is None else clips
    kept = StoredReference(Moments.of(reference), median_distance(reference), reference.astype(np.float32))
    return StoredEmbeddings(rows.astype(np.float32), numbers, kept)


def rows_of(count: int, seed: int, width: int = 6, shift: float = 0.0) -> np.ndarray:
    return shift + normal(count * width, seed).reshape(count, width) * np.linspace(1, 0.2, width)


def set_report(count: int, fad: float = 0.1, kad: float = 0.1) -> Report:
    clips = tuple(ClipRecord(f"p{i}@1", seed=1) for i in range(count))
    metrics = (
        Metric("fad/log-mel/soundloom", fad, count, direction="lower", recipe=RECIPE),
        Metric("kad/log-mel/soundloom", kad, count, (kad - 0.2, kad + 0.2), direction="lower", recipe=RECIPE),
    )
    return replace(made_report(1), clips=clips, metrics=metrics)


@pytest.mark.parametrize("width", [3, 40])
def test_weighted_distances_are_those_of_repeated_rows(width):
    reference, rows = Factor.of(rows_of(200, 1, width)), rows_of(30, 2, width, 0.1)
    groups = np.repeat(np.arange(10), 3)
    weights = prompt_weights(10, 4)
    repeated = [np.repeat(rows, row[groups].astype(int), axis=0) for row in weights]
    expected = [reference.distance(Factor.of(part)) for part in repeated]
    assert weighted_frechet(reference, Rows(rows, groups), weights) == pytest.approx(
        expected, rel=1e-6
    )  # square roots of eigenvalues that are 0


def test_differences_of_distances_are_those_of_the_distances():
    reference, a, b = rows_of(300, 1), rows_of(100, 2), rows_of(100, 3, shift=0.3)
    groups, sigma = np.arange(100), median_distance(reference)
    found = frechet_difference(Factor.of(reference), Rows(a, groups), Rows(b, groups), 100)
    assert found.base == pytest.approx(frechet_distance(reference, a))
    kernels = kernel_difference(reference, sigma, Rows(a, groups), Rows(b, groups), 100)
    expected = kernel_distance(reference, b, sigma) - kernel_distance(reference, a, sigma)
    assert kernels.other - kernels.base == pytest.approx(expected, rel=1e-6)


def test_stored_embeddings_are_compared_and_a_shift_is_worse(tmp_path):
    reference, base_rows = rows_of(500, 1), rows_of(200, 2)
    for name, rows in (("a", base_rows), ("b", base_rows + 0.25), ("same", base_rows)):
        write_report(set_report(200), tmp_path / name)
        write_embeddings(tmp_path / name, {"log-mel": stored(rows, reference)})
    base, worse, same = (Source.read(tmp_path / name) for name in ("a", "b", "same"))
    figures = ("fad/log-mel/soundloom", "kad/log-mel/soundloom")
    found = verdicts(compare(base, [worse]))
    assert [found[name] for name in figures] == ["worse", "worse"]
    found = verdicts(compare(base, [same]))
    assert [found[name] for name in figures] == ["same", "same"]


def test_embeddings_of_another_reference_are_not_compared():
    report = set_report(50)
    sides = [{"log-mel": stored(rows_of(50, 2), rows_of(300, seed))} for seed in (1, 9)]
    found = compare(source(report, sides[0]), [source(report, sides[1])])
    assert "log-mel: the stored references differ, so their distances are not compared" in found.notes


def test_embeddings_are_read_as_they_were_written(tmp_path):
    one = stored(rows_of(20, 1), rows_of(40, 2), np.repeat(np.arange(10), 2))
    write_embeddings(
        tmp_path, {"log-mel": one, "clap-x": replace(one, reference=StoredReference(Moments.of(rows_of(9, 3))))}
    )
    found = read_embeddings(tmp_path)
    assert list(found) == ["log-mel", "clap-x"]
    assert np.array_equal(found["log-mel"].vectors, one.vectors)
    assert found["log-mel"].reference.bandwidth == one.reference.bandwidth
    assert found["clap-x"].reference.vectors is None
    assert np.allclose(found["clap-x"].reference.moments.covariance, Moments.of(rows_of(9, 3)).covariance)
    assert read_embeddings(tmp_path / "none") == {}


def test_a_comparison_is_a_report_too(tmp_path):
    found = compare(source(made_report(60)), [source(made_report(60, seed=1))])
    write_report(found, tmp_path)
    assert read_report(tmp_path).comparison == found.comparison
    assert "Plot of the differences" in (tmp_path / "report.html").read_text("utf-8")
    assert not any(math.isnan(item.difference) for item in found.comparison)


def test_clips_that_failed_on_a_side_are_left_out_on_both():
    reference, rows = rows_of(300, 1), rows_of(60, 2)
    report, one = set_report(60), stored(rows, reference)
    partly = replace(one, vectors=one.vectors[10:][::-1], clips=one.clips[10:][::-1])
    found = compare(source(report, {"log-mel": one}), [source(report, {"log-mel": partly})]).comparison
    fad = next(item for item in found if item.figure.startswith("fad/"))
    assert fad.count == 50
    assert fad.difference == pytest.approx(0, abs=1e-9)
    assert fad.base == pytest.approx(frechet_distance(reference, rows[10:]), abs=1e-5)


def test_holm_adjusts_the_family_and_benjamini_hochberg_the_rest():
    base = Difference("x", 0, 1, 1, 50, "undecided", (0.1, 1.9), (0.2, 1.8), 0.02, direction="higher")
    family = [replace(base, figure=name, margin=0.1, p=p) for name, p in (("a", 0.01), ("b", 0.03), ("c", 0.04))]
    others = [replace(base, figure=name, p=p) for name, p in (("d", 0.01), ("e", 0.04), ("f", 0.9))]
    found = {item.figure: item for item in with_verdicts([*family, *others])}
    assert [found[name].p_adjusted for name in "abcdef"] == pytest.approx([0.03, 0.06, 0.06, 0.03, 0.06, 0.9])
    assert [found[name].verdict for name in "abcdef"] == ["better", *["undecided"] * 2, "better", *["undecided"] * 2]
    chosen = {item.figure: item for item in with_verdicts([*family, *others], ("d",))}
    assert chosen["d"].p_adjusted == 0.01
    assert "Holm of 1" in chosen["d"].method


@pytest.mark.parametrize(
    ("figure", "metric", "margin"),
    [
        ("align/score", None, 0.01),
        ("codec/log_mel", None, 0.3),
        ("fad/clap-music/soundloom", Metric("", 0.1, 1000), 0.02),
        ("fad/clap-music/soundloom", Metric("", 0.1, 999), None),
        ("fad/log-mel/soundloom", Metric("", 0.1, 1000), None),
        ("kad/log-mel/soundloom", Metric("", 0.1, 9, (0.1, 0.1 + 2 * 1.96)), 2.0),
        ("control/side", Metric("", 0.1, 9, unit="%"), 0.03),
        ("edit/seam", Metric("", 0.1, 9, unit="dB"), None),
    ],
)
def test_default_margins_are_those_of_the_documentation(figure, metric, margin):
    assert default_margin(figure, metric) == (pytest.approx(margin) if margin else None)


@pytest.mark.parametrize(("pairs", "verdict"), [(7, "undecided"), (8, "same")])
def test_few_pairs_prove_no_equality(pairs, verdict):
    """The bootstrap interval of five pairs holds the truth in 79 % of cases instead of 90."""
    item = Difference(
        *("align/score", 0.3, 0.301, 0.001, pairs, "undecided"),
        interval=(-0.003, 0.005),
        narrow=(-0.002, 0.004),
        p_adjusted=0.7,
        margin=0.01,
    )
    assert verdict_of(item) == verdict
