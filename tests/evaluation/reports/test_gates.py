from dataclasses import replace

import numpy as np
import pytest

from soundloom.errors import ConfigError, RequestError
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.compare import Source
from soundloom.evaluation.reports.gates import GateFile, check_gates, failed_gates, gate_lines
from soundloom.evaluation.reports.record import ClipRecord, Report
from soundloom.evaluation.reports.write import write_report
from tests.evaluation.reports.made import made_report
from tests.evaluation.reports.test_compare import normal, score_report


def gates(folder, text: str) -> GateFile:
    path = folder / "gates.toml"
    path.write_text(text, "utf-8")
    return GateFile.read(path)


def results(report: Report) -> list[str]:
    return [gate.result for gate in report.gates]


REPORT = Report(
    "edits",
    {},
    {"manifest": "ab"},
    (
        Metric("edit/kept_samples", 0, 4, direction="lower"),
        Metric("edit/seam_auc", 0.55, 40, (0.5, 0.66), direction="lower"),
        Metric("edit/broken", float("nan"), 4, direction="lower"),
    ),
    clips=(ClipRecord("a"), ClipRecord("b", failures=("silent",))),
)


@pytest.mark.parametrize(
    ("gate", "result"),
    [
        ('figure = "edit/kept_samples"\nat_most = 0', "passed"),
        ('figure = "edit/kept_samples"\nat_least = 1', "failed"),
        ('figure = "edit/seam_auc"\nat_most = 0.65', "passed"),
        ('figure = "edit/seam_auc"\nof = "high"\nat_most = 0.65', "failed"),
        ('figure = "edit/seam_auc"\nof = "low"\nat_least = 0.4\nat_most = 0.65', "passed"),
        ('figure = "edit/kept_samples"\nof = "high"\nat_most = 1', "failed"),  # it has no interval
        ('figure = "edit/broken"\nat_most = 1', "failed"),
        ('figure = "failures"\nat_most = 0', "failed"),
        ('figure = "failures"\nat_most = 0.5', "passed"),
    ],
)
def test_an_absolute_gate_bounds_a_value_or_an_edge_of_its_interval(tmp_path, gate, result):
    found = check_gates(REPORT, gates(tmp_path, f"[[gate]]\n{gate}"))
    assert results(found) == [result]
    assert failed_gates(found) == (result == "failed")


def test_a_pattern_gates_several_figures_and_a_kind_limits_a_gate(tmp_path):
    text = (
        '[[gate]]\nfigure = "edit/[ks]*"\nat_most = 1\n[[gate]]\nfigure = "align/score"\nkind = "align"\nat_least = 1'
    )
    assert [gate.figure for gate in check_gates(REPORT, gates(tmp_path, text)).gates] == [
        "edit/kept_samples",
        "edit/seam_auc",
    ]


@pytest.mark.parametrize(
    ("step", "spread", "direction", "result"),
    [
        (0.0, 0.02, "higher", "passed"),
        (0.05, 0.02, "higher", "passed"),
        (-0.05, 0.02, "higher", "failed"),
        (-0.011, 0.02, "higher", "undecided"),
        (-0.05, 0.02, "lower", "passed"),
        (0.05, 0.02, "lower", "failed"),
    ],
)
def test_a_relative_gate_fails_where_the_whole_interval_is_beyond_the_margin(tmp_path, step, spread, direction, result):
    scores = 0.35 + 0.1 * normal(200)
    write_report(score_report(scores, direction), tmp_path / "baseline")
    report = score_report(scores + step + spread * normal(200, 1), direction)
    found = check_gates(report, gates(tmp_path, '[[gate]]\nfigure = "align/score"\nreport = "baseline"\nmargin = 0.01'))
    assert results(found) == [result]
    assert len(gate_lines(found.gates)) == (result != "passed")


@pytest.mark.parametrize(
    ("step", "spread", "result"),
    [(0.0, 0.02, "passed"), (0.05, 0.02, "failed"), (-0.05, 0.02, "failed"), (0.011, 0.02, "undecided")],
)
def test_a_figure_without_a_direction_may_move_by_the_margin_either_way(tmp_path, step, spread, result):
    scores = 0.1 * normal(200)
    write_report(score_report(scores, "", "codec/treble"), tmp_path / "baseline")
    report = score_report(scores + step + spread * normal(200, 1), "", "codec/treble")
    text = '[[gate]]\nfigure = "codec/treble"\nreport = "baseline"\nmargin = 0.01'
    assert results(check_gates(report, gates(tmp_path, text))) == [result]


def test_a_gate_without_a_condition_is_relative_to_the_base_of_a_comparison(tmp_path):
    scores = 0.35 + 0.1 * normal(200)
    base, worse = Source(score_report(scores), tmp_path, {}), score_report(scores - 0.1)
    file = gates(tmp_path, '[[gate]]\nfigure = "align/score"')
    assert results(check_gates(worse, file, base=base)) == ["failed"]
    assert file.family("set") == ("align/score",)
    with pytest.raises(RequestError, match="has no condition"):
        check_gates(worse, file)


@pytest.mark.parametrize(("step", "result"), [(0.1, "passed"), (0.5, "failed")])
@pytest.mark.parametrize("paired", [True, False])
def test_a_ceiling_is_another_figure_of_the_report(tmp_path, step, result, paired):
    values = 2 + 0.5 * np.abs(normal(50))
    figures = ("edit/log_mel", "codec/log_mel")
    clips = tuple(ClipRecord(f"p{i}", figures={figures[0]: v + step, figures[1]: v}) for i, v in enumerate(values))
    metrics = tuple(
        Metric(name, float(values.mean()) + more, 50, unit="dB", direction="lower")
        for name, more in zip(figures, (step, 0), strict=True)
    )
    report = Report("edits", {}, {}, metrics, clips=clips if paired else ())
    text = '[[gate]]\nfigure = "edit/log_mel"\nceiling = "codec/log_mel"\nmargin = 0.3'
    assert results(check_gates(report, gates(tmp_path, text))) == [result]


def test_a_stored_report_must_be_comparable(tmp_path):
    write_report(replace(made_report(), data={"manifest": "other"}), tmp_path / "baseline")
    with pytest.raises(RequestError, match="list of clips differs"):
        check_gates(made_report(), gates(tmp_path, '[[gate]]\nfigure = "align/score"\nreport = "baseline"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no gates"),
        ("[[gate]]\nat_most = 1", "lacks the field"),
        ('[[gate]]\nfigure = "x"\nmost = 1', "unknown field"),
        ('[[gate]]\nfigure = "x"\nat_most = 1\nreport = "y"', "two conditions"),
        ('[[gate]]\nfigure = "x"\nof = "middle"', "one of"),
        ("[[gate]", "as TOML"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        gates(tmp_path, text)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ('figure = "edit/kept"\nat_most = 0', "no figure edit/kept, which"),
        ('figure = "edit/kept_samples"\nceiling = "codec/x"', "no figure codec/x"),
    ],
)
def test_a_gate_of_a_missing_figure_is_a_senseless_request(tmp_path, gate, message):
    with pytest.raises(RequestError, match=message) as error:
        check_gates(REPORT, gates(tmp_path, f"[[gate]]\n{gate}"))
    assert error.value.exit_code == 2
