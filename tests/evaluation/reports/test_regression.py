"""The regression gate of the bundled model: 24 prompts with one seed, figures that need no embedder."""

from pathlib import Path

import pytest

from soundloom.cli.main import main
from soundloom.evaluation.reports.write import read_report

GATES = Path(__file__).parents[3] / "configs/gates/mini.toml"


@pytest.mark.slow
def test_the_bundled_model_passes_its_gates_and_misses_stricter_ones(tmp_path, capsys):
    command = ["eval", "control", "--model", "mini", "--prompts", "4", "--seconds", "4", "-q", "--out", str(tmp_path)]
    assert main([*command, "--gates", str(GATES)]) == 0
    report = read_report(tmp_path)
    assert len(report.clips) == 24
    assert [gate.result for gate in report.gates] == ["passed"] * 7
    from soundloom.evaluation.reports.gates import GateFile, check_gates, failed_gates

    stricter = tmp_path / "gates.toml"
    stricter.write_text(GATES.read_text().replace("at_least = 1\n", "at_least = 1.5\n"))
    assert failed_gates(check_gates(report, GateFile.read(stricter)))
