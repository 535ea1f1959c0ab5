"""Export trained modules as a model folder in the published layout, with the lengths of the training clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from soundloom.atomic import atomic_file, atomic_folder, write_json
from soundloom.checkpoints.formats.tensors import LazyTensor, from_array
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.stable_audio.components import TextEncoderFiles
from soundloom.checkpoints.stable_audio.save import save_checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.training_section import CLIP_SECONDS, clip_seconds
from soundloom.datasets.synthetic.config import SOUNDS_FILE
from soundloom.errors import RequestError, TrainingError
from soundloom.temporary import is_empty
from soundloom.training.loop.checkpoint import named_damage, read_json_object
from soundloom.training.loop.guards import require_no_divergence
from soundloom.training.run_directory import RunDirectory
from soundloom.training.stages.context import DIT_SOUNDS, StableAudioContext
from soundloom.training.stages.registry import EXPORTABLE

TEXT_PREFIX = "model.encoder."
WEIGHTS_FILE = "model.safetensors"  # of every exported model


def export_model(context: StableAudioContext, folder: Path, stage: str | None = None) -> None:
    """Write the model of a stage in half precision: by default of the last stage in the recipe.

    An older model in the folder is replaced when the new one is complete. The recipe's file of synthetic sounds is
    included, since `soundloom eval` takes prompts from it.
    """
    require_no_divergence(context.run_dir.folder)
    stage = stage or next(name for name in reversed(EXPORTABLE) if context.recipe.has(name) or name == "dit")
    context.run_dir.require(context.run_dir.weights(stage), stage)
    generator = context.generator(stage).cpu()
    config = with_clip_lengths(context)
    tensors = {
        **_tensors(generator.dit, DIT_PREFIX),
        **_tensors(context.autoencoder(), SAME_PREFIX),
        **_tensors(generator.conditioner, CONDITIONER_PREFIX),
    }
    weights = _tensors(generator.text, TEXT_PREFIX)
    text = TextEncoderFiles(generator.text.config, weights, context.tokenizer, Path())
    require_replaceable(folder)
    with atomic_folder(folder) as new:
        save_checkpoint(new, "published", config, tensors, text)
        if context.dit_sounds is not None:
            with atomic_file(new / SOUNDS_FILE) as file:
                file.write(context.recipe.contents(DIT_SOUNDS))
        write_hashes(new)


def save_clip_lengths(context: StableAudioContext, seconds: NDArray[np.float32]) -> None:
    """Store the minimum and maximum of seconds, limited by the model and truncated to hundredths."""
    limit = context.model.max_seconds
    lengths = [int(100 * min(length, limit)) / 100 for length in (seconds.min(), seconds.max())]
    write_json(_path(context.run_dir), {CLIP_SECONDS: lengths})


def with_clip_lengths(context: StableAudioContext) -> ModelConfig:
    """Return the model's configuration with the stored lengths, unless it has lengths or is fine-tuned.

    Raises TrainingError where the file is missing or damaged.
    """
    if context.pretrained or CLIP_SECONDS in context.model.training:
        return context.model
    path = context.run_dir.require(_path(context.run_dir), "dit")
    stored = read_json_object(path) or {}
    with named_damage(path, "it is damaged; restore it, or run soundloom train dit --restart"):
        clip_seconds(stored, 0, context.model.max_seconds)
        training = {**context.model.training, CLIP_SECONDS: list(stored[CLIP_SECONDS])}
    return replace(context.model, training=training)


def _path(run_dir: RunDirectory) -> Path:
    return run_dir.stage_folder("dit") / "lengths.json"


def require_replaceable(folder: Path) -> None:
    """Raise RequestError unless the folder is new, empty or holds an older model."""
    path = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, and a model is a folder", "choose another name")
    if path == Path.cwd() or path in Path.cwd().parents:
        raise RequestError(f"{folder} is the current folder or contains it", "choose a new folder for the model")
    if folder.exists() and not is_empty(folder) and not (folder / WEIGHTS_FILE).is_file():
        raise RequestError(f"{folder} holds something other than a model, which would be lost", "choose another folder")


def _tensors(module: nn.Module, prefix: str) -> dict[str, LazyTensor]:
    return {prefix + name: _half(prefix + name, value) for name, value in module.state_dict().items()}


def _half(name: str, value: Tensor) -> LazyTensor:
    with np.errstate(over="ignore"):
        half = value.detach().numpy().astype(np.float16)
    if not np.isfinite(half).all():
        raise TrainingError(
            f"{name} has values that are not finite in half precision: training diverged",
            "train that stage again with a lower learning rate",
        )
    return from_array(name, half)
