"""Commands on damaged models and latents give one message and an exit code, and save nothing."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from soundloom.cli.main import main
from tests.robustness.mutators import formats
from tests.robustness.mutators.base import MAX_MESSAGE, inputs, mutate_bytes, mutate_json
from tests.robustness.mutators.models import replace

FILES = [
    ("published", "model.safetensors", formats.mutate_safetensors),
    ("published", "model_config.json", mutate_json),
    ("published", "t5gemma-b-b-ul2/config.json", mutate_json),
    ("published", "t5gemma-b-b-ul2/tokenizer.model", mutate_bytes),
    ("npz", "same_s_decoder_f32.npz", formats.mutate_npz),
    ("int4", "dit_sm_music/model.safetensors", formats.mutate_safetensors),
    ("musicgen", "model_config.json", mutate_json),
    ("audiocraft", "state_dict.bin", formats.mutate_saved),
    ("transformers", "config.json", mutate_json),
    ("bundle", "model.safetensors", formats.mutate_safetensors),
]
COMMANDS = [
    ["models", "verify", "MODEL"],
    ["generate", "rain", "--model", "MODEL", "--seconds", "0.2", "--steps", "1", "-o", "out/x.wav"],
    ["convert", "MODEL", "out/new", "--layout", "npz"],
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / ".settings"))
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / ".cache"))
    monkeypatch.delenv("SOUNDLOOM_DEBUG", raising=False)


def run(command, capfd, what):
    """Run a command with damaged input; it succeeds or reports an error."""
    code = main(command)
    out, err = capfd.readouterr()
    said = [line for line in err.split("\n") if line.startswith("error: ")]
    assert "Traceback" not in err, f"{what}: {err}"
    assert all(line.isprintable() for line in err.split("\n")), f"{what}: {err!r}"
    if code and command[0] == "models" and not err:
        assert "not finite" in out or "is damaged" in out, what  # verify prints what it found
    elif code:
        assert len(said) == 1 and len(said[0]) > len("error: "), f"{what}: {err!r}"
        assert len(said[0]) < MAX_MESSAGE, f"{what}: {err}"
        left = [path for path in sorted(os.listdir(".")) if not path.startswith((".", "m"))]  # noqa: PTH208
        assert not any(os.listdir(path) for path in left), f"{what} left {left}"  # noqa: PTH208
    return code


def run_all(folders, count, capfd, case):
    layout, name, mutate = case
    shutil.copytree(folders(layout), "m")
    whole = (folders(layout) / name).read_bytes()
    for number, rng in enumerate(inputs(count, f"{layout} {name}")):
        replace(Path("m") / name, mutate(whole, rng))
        for command in COMMANDS:
            run([part.replace("MODEL", "m") for part in command], capfd, f"{command[0]} {name}, input {number}")
            shutil.rmtree("out", ignore_errors=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", FILES, ids=lambda case: "/".join(case[:2]))
def test_commands_on_damaged_models(folders, capfd, case):
    run_all(folders, 4, capfd, case)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", FILES, ids=lambda case: "/".join(case[:2]))
def test_many_commands_on_damaged_models(folders, capfd, case):
    run_all(folders, 25, capfd, case)


def test_decoding_damaged_latents(folders, tmp_path, capfd):
    stream = io.BytesIO()
    np.save(stream, np.zeros((256, 2), np.float32))
    for number, rng in enumerate(inputs(40, "latents")):
        (tmp_path / "m.npy").write_bytes(formats.mutate_npy(stream.getvalue(), rng))
        run(["decode", "m.npy", "--model", str(folders("published")), "-o", "out/x.wav"], capfd, f"input {number}")
        shutil.rmtree("out", ignore_errors=True)
