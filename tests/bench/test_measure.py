"""Measure tiny models in new processes, alternate two commands, and run `soundloom bench`."""

import itertools
import json
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.bench.busy import busy_processes
from soundloom.bench.cases import Case, failure, measure, require_weights, run_module, weights_folder
from soundloom.bench.report import ratio_line
from soundloom.bench.versus import _generate_command, alternate, versus_command
from soundloom.cli.commands.bench import Options, _cases
from soundloom.cli.main import main
from soundloom.errors import SoundloomError
from soundloom.testing.stable_audio import make_random


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    make_random("small-music", folder / "small-music", size="tiny")
    return folder


@pytest.fixture(scope="module")
def versus(work):
    """Compare a tiny model with a command that holds 100 MB, in a process that holds 300 MB."""
    held = np.ones(300 * 2**20, np.uint8)
    command = shlex.join([sys.executable, "-S", "-c", "b'x' * (100 * 2**20)"])
    figures = versus_command(Case("small-music", 0.5, "fp32", 1, 1), work / "small-music", command)
    assert held[-1]
    return figures


@pytest.fixture
def quick_command(monkeypatch):
    """Replace `soundloom generate` by a command that does nothing."""
    command = [sys.executable, "-S", "-c", ""]
    monkeypatch.setattr("soundloom.bench.versus._generate_command", lambda case, folder, out: command)


def test_a_case_is_measured_cold_and_warm(work):
    (figures,) = measure([Case("small-music", 0.5, "fp32", steps=2, runs=1)], work)
    assert figures["case"] == "small-music 0.5 s fp32 2 steps"
    assert 0 < figures["cold"]["first_step"] < figures["cold"]["seconds"]
    assert set(figures["warm"]["stages"]) == {"text", "sample", "decode"}
    assert 5e7 < figures["peak"]["host"] < 5e9


def test_the_command_prints_a_table_and_writes_a_baseline(work, tmp_path, capsys):
    saved = tmp_path / "base.json"
    asked = ["bench", "--weights", str(work), "--seconds", "0.5", "--steps", "1", "--runs", "0", "--save", str(saved)]
    asked += ["--plot", str(tmp_path / "times.svg")]
    assert main(asked) == 0
    assert "small-music auto, cold" in (tmp_path / "times.svg").read_text()
    assert "small-music 0.5 s auto 1 steps" in capsys.readouterr().out
    found = json.loads(saved.read_text())
    assert {"processor", "cores", "soundloom"} <= set(found["machine"])
    assert len(found["results"]) == 1


def test_results_are_saved_when_a_later_case_fails(work, tmp_path, capsys):
    saved = tmp_path / "base.json"
    asked = ["--weights", str(work), "--seconds", "0.5", "--steps", "1", "--runs", "0", "--save", str(saved)]
    assert main(["bench", *asked, "--precisions", "auto", "fp7"]) == 1
    printed = capsys.readouterr()
    assert "small-music 0.5 s auto 1 steps" in printed.out
    assert "no precision named 'fp7'" in printed.err
    assert [result["case"] for result in json.loads(saved.read_text())["results"]] == ["small-music 0.5 s auto 1 steps"]


def test_published_cases_stop_at_the_limit_of_the_model():
    cases = [(case.model, case.seconds) for case in _cases(Options(published=True))]
    assert cases == [
        *(("small-music", seconds) for seconds in (5, 30, 120)),
        *(("medium", seconds) for seconds in (5, 30, 120, 380)),
    ]
    assert [case.key for case in _cases(Options(published=True, models=["medium"], seconds=[380], engine="torch"))] == [
        "medium 380 s auto 8 steps torch"
    ]


def test_a_row_of_the_published_table_is_measured_on_mlx(work, capsys):
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    flags = ["--published", "--models", "small-music", "--seconds", "5", "--engine", "mlx", "--steps", "1"]
    assert main(["bench", "--weights", str(work), *flags, "--runs", "0", "--save", str(work / "mlx.json")]) == 0
    assert "small-music 5 s auto 1 steps mlx" in capsys.readouterr().out
    (figures,) = json.loads((work / "mlx.json").read_text())["results"]
    assert figures["engine"]["engine"].startswith("mlx ")


@pytest.mark.parametrize(
    "flags",
    [
        ["--models", "same-s"],
        ["--steps", "0"],
        ["--seconds", "-1"],
        ["--busy", "-1"],
        ["--versus-command", "true", "--plot", "times.svg"],
        ["--seconds", "5,30,380"],
        ["--compare", "mistyped.json"],
        ["--save", "."],
        ["--versus-command", "echo 'x"],
        ["--versus-command", "no-such-program --fast"],
    ],
)
def test_invalid_requests_fail_before_weights_are_generated(flags, tmp_path):
    assert main(["bench", "--weights", str(tmp_path / "none"), *flags]) == 2
    assert not (tmp_path / "none").exists()


def test_runs_alternate_and_ratios_are_per_pair(monkeypatch):
    calls, turns = [], [(1, 8), (2, 4), (4, 6)]  # seconds of ours and of theirs
    clock = itertools.accumulate(step for turn in turns for own_or_other in turn for step in (0, own_or_other))
    monkeypatch.setattr("soundloom.bench.versus.time.perf_counter", lambda: next(clock))
    figures = alternate(lambda: calls.append("ours"), lambda: calls.append("theirs"), 3)
    assert calls == ["ours", "theirs"] * 3
    assert figures == {"ours": 2, "theirs": 6, "times_as_fast": 2}  # and not 6 / 2


@pytest.mark.slow
def test_the_script_compares_each_network_with_diffusers(work, tmp_path, capsys):
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    from benchmarks.versus_diffusers import main as versus_diffusers

    flags = ["--seconds", "0.5", "--precisions", "fp32", "--steps", "1", "--runs", "1"]
    versus_diffusers(["--weights", str(work), *flags, "--save", str(tmp_path / "times.json")])
    assert "small-music 0.5 s fp32 1 steps, decoder: soundloom" in capsys.readouterr().out
    (figures,) = json.loads((tmp_path / "times.json").read_text())["results"]
    assert set(figures) == {"case", "precision", "text", "transformer", "decoder", "clip"}
    assert figures["clip"]["ours"] > figures["decoder"]["ours"] > 0


def test_versus_command_alternates_with_soundloom(versus, work):
    assert 0 < versus["times_as_fast"] < 1
    assert not list((work / "small-music").glob("*.wav"))


def test_a_comparison_names_the_command_that_failed(work, quick_command):
    with pytest.raises(SoundloomError, match="false failed"):
        versus_command(Case("small-music", 0.5, "fp32", 1, 1), work / "small-music", "false")


def test_a_comparison_tells_the_error_of_soundloom(work):
    with pytest.raises(SoundloomError, match="no engine named 'abacus'"):
        versus_command(Case("small-music", 0.5, "fp32", 1, 1, "abacus"), work / "small-music", "true")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the memory of finished processes")
def test_memory_is_that_of_the_command_and_not_of_this_process(versus):
    assert 100 < versus["their_bytes"] / 2**20 < 150
    assert versus["times_the_memory"] == versus["our_bytes"] / versus["their_bytes"] > 1
    assert ratio_line("case", versus).endswith(" times the memory")


def test_clips_of_random_weights_are_compared_although_they_fail_the_checks(tmp_path):
    command = _generate_command(Case("small-music", 0.5, "fp32", 1, 1), tmp_path, tmp_path)
    assert "--keep-bad" in command


def test_commands_run_without_thread_settings_and_once_before_they_are_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen = tmp_path / "seen"
    program = f"import os; open({str(seen)!r}, 'a').write(os.environ.get('OMP_NUM_THREADS', 'unset') + ' ')"
    command = [sys.executable, "-c", program]
    monkeypatch.setattr("soundloom.bench.versus._generate_command", lambda case, folder, out: command)
    versus_command(Case("small-music", 0.5, "fp32", 1, 2), tmp_path, shlex.join(command))
    assert seen.read_text().split() == ["unset"] * 6


def test_busy_processes_compute_until_the_block_ends():
    with busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.returncode for process in processes)


def test_a_comparison_beside_busy_processes_says_so(work, quick_command, tmp_path, capsys, monkeypatch):
    counts = []

    @contextmanager
    def counted(count):
        counts.append(count)
        yield []

    monkeypatch.setattr("soundloom.cli.commands.bench.busy_processes", counted)
    saved = tmp_path / "versus.json"
    flags = ["--seconds", "0.5", "--steps", "1", "--runs", "1", "--busy", "2", "--save", str(saved)]
    assert main(["bench", "--weights", str(work), *flags, "--versus-command", "true"]) == 0
    assert "times as fast" in capsys.readouterr().out
    assert counts == [2] and json.loads(saved.read_text())["busy"] == 2


def test_incomplete_weights_are_removed(tmp_path, monkeypatch):
    def interrupted(module, model, folder):
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "model.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("soundloom.bench.cases.run_module", interrupted)
    with pytest.raises(KeyboardInterrupt):
        require_weights("small-music", tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_weights_are_generated_once(tmp_path, monkeypatch):
    monkeypatch.setattr("soundloom.bench.cases.run_module", lambda module, model, folder: Path(folder, "made").touch())
    assert require_weights("small-music", tmp_path) == tmp_path / "small-music"
    monkeypatch.setattr("soundloom.bench.cases.run_module", lambda *asked: pytest.fail("made again"))
    require_weights("small-music", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["small-music"]


def test_weights_are_cached(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    assert weights_folder() == tmp_path / "random-weights"


def test_the_error_of_a_failed_process_includes_its_hint():
    error = failure("it failed", "Traceback …\nerror: no engine named 'abacus'\nhint: known: torch")
    assert str(error) == "it failed: error: no engine named 'abacus'\nhint: known: torch"


def test_the_error_of_a_failed_process_is_its_last_line():
    with pytest.raises(SoundloomError, match="No module named"):
        run_module("soundloom.bench.nothing")
