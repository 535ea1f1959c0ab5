from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.cli.main import main

RATE = 48000


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def paths(self) -> list[Path]:
        """The saved files: one a line on stdout, and nothing else."""
        return [Path(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run in an empty folder, without network, cache, or user settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / ".settings"))
    monkeypatch.delenv("SOUNDLOOM_DEBUG", raising=False)


@pytest.fixture
def soundloom(capsys):
    """Call the command in this process."""

    def call(*arguments) -> Result:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


@pytest.fixture
def make(soundloom, tiny_model_folder):
    """Call a command with the tiny model and one step."""

    def call(command, *arguments) -> Result:
        return soundloom(command, *arguments, "--model", tiny_model_folder, "--steps", 1)

    return call


@pytest.fixture
def source(tmp_path) -> Path:
    """Half a second of 16-bit stereo at 48 kHz, which is neither the model's rate nor the default depth."""
    random = np.random.default_rng(1)
    path = tmp_path / "source.wav"
    soundfile.write(path, random.uniform(-0.5, 0.5, (RATE // 2, 2)), RATE, subtype="PCM_16")
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != ".settings")  # noqa: PTH208
