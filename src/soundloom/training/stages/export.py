"""From trained modules to a model folder in the published layout, which appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from soundloom.atomic import atomic_file, atomic_folder
from soundloom.checkpoints.formats.tensors import LazyTensor, from_array
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.stable_audio.components import TextEncoderFiles
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.datasets.synthetic.config import SOUNDS_FILE
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import RequestError, TrainingError
from soundloom.temporary import is_empty
from soundloom.training.init.generator import Generator

TEXT_PREFIX = "model.encoder."
WEIGHTS_FILE = "model.safetensors"  # which every model that is exported here has


def export(
    folder: Path, config: ModelConfig, same: SAME, generator: Generator, tokenizer: bytes, sounds: bytes | None
) -> None:
    """Write everything in half precision; an older model in `folder` gives way when the new one is complete.

    `sounds` says what the model was taught, for `soundloom eval`: the recipe's file, where sounds are synthetic.
    """
    tensors = {
        **_tensors(generator.dit, DIT_PREFIX),
        **_tensors(same, SAME_PREFIX),
        **_tensors(generator.conditioner, CONDITIONER_PREFIX),
    }
    text = TextEncoderFiles(generator.text.config, _tensors(generator.text, TEXT_PREFIX), tokenizer, Path())
    require_replaceable(folder)
    with atomic_folder(folder) as new:
        save_checkpoint(new, "published", config, tensors, text)
        if sounds is not None:
            with atomic_file(new / SOUNDS_FILE) as file:
                file.write(sounds)
        write_hashes(new)


def require_replaceable(folder: Path) -> None:
    """Raise RequestError where a model would take the place of anything but an older model or nothing."""
    whole = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, and a model becomes a folder", "name another one")
    if whole == Path.cwd() or whole in Path.cwd().parents:
        raise RequestError(f"{folder} is the folder that this runs in, or holds it", "name a new folder for the model")
    if folder.exists() and not is_empty(folder) and not (folder / WEIGHTS_FILE).is_file():
        raise RequestError(f"{folder} holds other things than a model, which would be lost", "name another folder")


def _tensors(module: nn.Module, prefix: str) -> dict[str, LazyTensor]:
    return {prefix + name: _half(prefix + name, value) for name, value in module.state_dict().items()}


def _half(name: str, value: Tensor) -> LazyTensor:
    with np.errstate(over="ignore"):
        half = value.detach().numpy().astype(np.float16)
    if not np.isfinite(half).all():
        raise TrainingError(
            f"{name} holds values that are not numbers in half precision: training has gone wrong",
            "train that stage again with a lower learning rate",
        )
    return from_array(name, half)
