"""Generate tiny models, damage one of their files, and open, read, or run them."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from soundloom import load
from soundloom.audio.clip import Clip
from soundloom.checkpoints.musicgen.fetch import is_music
from soundloom.checkpoints.musicgen.open import open_musicgen
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.config.musicgen.model import published_musicgen
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from soundloom.testing.stable_audio import make_random
from tests.robustness.mutators.base import Mutator, Outcomes, inputs

PLAIN, EDITOR = (tiny_musicgen(published_musicgen("large", instruct=instruct)) for instruct in (False, True))
STABLE = ("published", "npz", "int4", "same-only")
CLICK = np.float32(0.5) * np.eye(1, 4000, 100, dtype=np.float32)  # mono
EDITORS = ("instruct", "bundle", "musicgen")


def make_model(layout: str, folder: Path) -> Path:
    """Write a tiny model with random weights; "sharded" is the layout of transformers with an index."""
    if layout in STABLE:
        return make_random("small-music", folder, layout, "tiny")
    make_musicgen(EDITOR if layout in EDITORS else PLAIN, folder, "transformers" if layout == "sharded" else layout)
    if layout == "sharded":
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def read_all(path: Path) -> object:
    """Open a model like the command line, and read all of its weights."""
    checkpoint = open_musicgen(path) if is_music(path) else open_checkpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of arithmetic on damaged weights
        verify(checkpoint)
    return checkpoint


def make_sound(path: Path) -> object:
    """Open a model, and generate, or encode and decode, a fraction of a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = load(path)
        if isinstance(model, MusicModel):
            if model.config.instruct:
                return model.edit(Clip(CLICK, model.sample_rate), "Only drums", seed=1)
            return model.generate("rain", seconds=0.1, seed=1)
        if isinstance(model.checkpoint.config, ModelConfig):
            return model.generate("rain", seconds=0.3, steps=1, seed=1)
        return model.decode(model.encode(Clip(CLICK, model.sample_rate)))


def replace(path: Path, data: bytes) -> None:
    """Replace a file without changing the old one, which may still be memory-mapped."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105


def damage(
    folder: Path, name: str, mutate: Mutator, use: Callable[[Path], object], count: int, where: Path
) -> Outcomes:
    """Use copies of a model folder with one damaged file each, and return the outcomes."""
    copy = where / "m" / folder.name
    shutil.copytree(folder, copy)
    whole, found = (folder / name).read_bytes(), Outcomes(str(copy))
    for number, rng in enumerate(inputs(count, f"{folder.name} {name}")):
        replace(copy / name, mutate(whole, rng))
        found.check(lambda: use(copy), f"{folder.name}/{name}, input {number}")
    return found
