"""`--threads`, in every command that computes with an engine."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.bench.cases import Case
from soundloom.cli.commands import COMMANDS
from soundloom.cli.commands.bench import Options, _cases
from soundloom.cli.commands.completion import flags_of
from soundloom.cli.commands.eval.synthetic import Options as EvalOptions
from soundloom.cli.commands.eval.synthetic import _flags

COMPUTING = {"generate", "vary", "inpaint", "extend", "edit", "encode", "decode", "quantize", "train", "eval", "bench"}
COMPUTING |= {"doctor", "loop", "serve", "studio"}


@pytest.fixture
def threads():
    """Restore the number of threads of this process."""
    import torch

    before = torch.get_num_threads()
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_commands_that_compute_have_the_flag():
    found = {command for command in COMMANDS if any("--threads" in flag.names for flag in flags_of(command))}
    assert found == COMPUTING


@pytest.mark.parametrize("value", ["0", "-1", "1025"])
@pytest.mark.parametrize("command", [("doctor",), ("train", "dit", "recipe", "--work", "run")])
def test_a_number_out_of_range_is_one_sentence(soundloom, command, value):
    done = soundloom(*command, "--threads", value)
    assert (done.code, done.out) == (2, "")
    assert f"argument --threads: {value} is not between 1 and 1024" in done.err


def test_doctor_says_how_many_threads_and_why(tiny_model_folder):
    command = [sys.executable, "-m", "soundloom", "doctor", "--threads", "1", "--json", "--model", tiny_model_folder]
    check = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["check"]
    assert check["threads"].startswith("1, as requested; ")


def test_the_number_reaches_pytorch(make, soundloom, tiny_model_folder, threads):
    make("generate", "rain", "--seconds", 0.1, "-o", "rain.wav", "--threads", 3)
    assert threads() == 3
    soundloom("encode", "rain.wav", "--model", tiny_model_folder, "--threads", 1)
    assert threads() == 1


def test_the_mlx_engine_warns(make, threads):
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    before = threads()
    done = make("generate", "rain", "--seconds", 0.1, "-o", "rain.wav", "--threads", 3, "--engine", "mlx")
    assert done.code == 0
    assert "the number of threads has no effect with the MLX engine" in done.err
    assert threads() == before


def test_other_processes_get_the_number():
    assert _flags(EvalOptions("mini", threads=2))[-2:] == ["--threads", "2"]
    assert "--threads" not in _flags(EvalOptions("mini"))
    (case,) = _cases(Options(threads=1, seconds=[5.0]))
    assert case == Case("small-music", 5.0, "auto", threads=1)
    assert case.key.endswith(" 8 steps 1 threads")
