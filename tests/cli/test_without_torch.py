"""soundloom on MLX without PyTorch and transformers, as on a Mac after a default install."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import soundfile

import soundloom

pytest.importorskip("mlx.core", reason="MLX is not installed")

ABSENT = ("torch", "functorch", "transformers", "diffusers")
FAST = ("--seed", 1, "--steps", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python with all installed packages except those in ABSENT."""
    folder = tmp_path_factory.mktemp("without torch")
    site = folder / "site"
    site.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(ABSENT) and path.suffix != ".pth":
            (site / path.name).symlink_to(path)
    source = Path(soundloom.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(site)])}

    def run(*arguments):
        command = [sys.executable, "-S", *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout

    run.folder = folder
    return run


@pytest.fixture
def run_commands(run):
    """Run several commands in one process, which imports everything once."""
    code = "import json, sys; from soundloom.cli.main import main; sys.exit(any(map(main, json.loads(sys.argv[1]))))"
    return lambda *commands: run("-c", code, json.dumps([list(map(str, command)) for command in commands]))


def test_pytorch_is_really_absent(run):
    code = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    assert run("-c", code).strip() == "[]"


def test_mini_generates_and_edits(run, run_commands):
    generate = ("-m", "soundloom", "generate")
    made = run(*generate, "--prompt", "a 440 Hz tone", "--seconds", 2, "--seed", 7, "-o", "a.wav")
    assert Path(made.strip()).name == "a.wav"
    run_commands(
        ("vary", "a.wav", "rain", "--noise", 0.5, *FAST, "-o", "vary.wav"),
        ("inpaint", "a.wav", "rain", "--region", "0.5,1", *FAST, "-o", "inpaint.wav"),
        ("extend", "a.wav", "rain", "--seconds", 1, *FAST, "-o", "extend.wav"),
    )
    sounds = {name: soundfile.read(run.folder / f"{name}.wav")[0] for name in ("a", "vary", "inpaint", "extend")}
    assert {name: len(sound) for name, sound in sounds.items()} == {
        "a": 88200,
        "vary": 88200,
        "inpaint": 88200,
        "extend": 132300,
    }
    assert np.abs(sounds["a"]).max() > 0.3
    assert (sounds["inpaint"][:22050] == sounds["a"][:22050]).all()
    assert (sounds["extend"][:88200] == sounds["a"]).all()


def test_published_flags_work(run, run_commands):
    generate = ("generate", "--prompt", "rain", *FAST)
    run_commands(
        (*generate, "--seconds", 1, "-o", "source.wav"),
        (*generate, "--init-audio", "source.wav", "--init-noise-level", 0.5, "-o", "varied.wav"),
        (*generate, "--init-audio", "source.wav", "--inpaint-range", "0.5,0.8", "-o", "filled.wav"),
    )
    source, varied, filled = (soundfile.read(run.folder / f"{name}.wav")[0] for name in ("source", "varied", "filled"))
    assert len(source) == len(varied) == len(filled) == 44100
    assert (varied != source).any()
    assert (filled[:22050] == source[:22050]).all()
    assert (filled[22050:35280] != source[22050:35280]).any()
