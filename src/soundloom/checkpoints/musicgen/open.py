"""Open MusicGen and Instruct-MusicGen checkpoints from a folder or file.

Supported are soundloom's own layout, the folders of transformers and audiocraft, the adapter's training checkpoint and
its MLX bundle. Every tensor must be used or listed as optional; any other is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.fingerprint import fingerprint
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.pickle import read_pickle
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
from soundloom.checkpoints.musicgen.components import (
    CONFIG_FILE,
    WEIGHTS_FILE,
)
from soundloom.checkpoints.musicgen.readers import (
    OWN_CONFIG,
    AuxiliaryFolders,
    ReadModel,
    read_audiocraft,
    read_bundle,
    read_own,
    read_training,
    read_transformers,
)
from soundloom.checkpoints.musicgen.shapes import (
    musicgen_shapes,
)
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.errors import CorruptFileError, ModelNotFoundError
from soundloom.untrusted.json import read_json

STATE_FILE = "state_dict.bin"


@dataclass(frozen=True)
class MusicGenCheckpoint:
    """An opened model. Tensors have the names of `musicgen_shapes`, with component prefixes.

    `layout` is musicgen (soundloom's own), transformers, audiocraft, instruct (the training checkpoint), or int4, int8
    or mixed for packed weights. `fingerprint` identifies the tensors in the files: see `checkpoints.fingerprint`.
    `files` are all files with weights.
    """

    name: str
    config: MusicGenConfig
    tensors: Mapping[str, LazyTensor]
    tokenizer: bytes
    layout: str
    fingerprint: str
    path: Path
    license: str
    files: tuple[Path, ...]
    text_encoder: None = None  # part of `tensors`

    @property
    def is_packed(self) -> bool:
        """Whether any weight is quantized."""
        return any(isinstance(tensor, PackedTensor) for tensor in self.tensors.values())

    def component(self, prefix: str) -> Tensors:
        """Return the tensors of a component, with its prefix removed from their names."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def open_musicgen(
    path: Path, auxiliary: AuxiliaryFolders | None = None, name: str = "", license: str = ""
) -> MusicGenCheckpoint:
    """Open a folder, or a file in such a folder. Raises ModelNotFoundError, ConfigError or CheckpointError."""
    folder = path if path.is_dir() else path.parent
    found = _read(path, folder, auxiliary or AuxiliaryFolders())
    tensors = require_match(found.tensors, musicgen_shapes(found.config), str(path))
    return MusicGenCheckpoint(
        name=name or folder.resolve().name,
        config=found.config,
        tensors=tensors,
        tokenizer=found.tokenizer,
        layout=found.layout,
        fingerprint=fingerprint([tensor for part in found.stored for tensor in part.values()]),
        path=folder,
        license=license or "CC-BY-NC 4.0 for the published weights; otherwise see the files next to them",
        files=found.files,
    )


def is_musicgen(path: Path) -> bool:
    """Whether a folder or file is a MusicGen checkpoint in a supported layout."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.suffix in (".bin", ".ckpt"):
        return path.name == STATE_FILE or _holds_adapter(path)
    own, composite = folder / OWN_CONFIG, folder / CONFIG_FILE
    if own.is_file():
        return read_json(own).get("model_type") == "musicgen"
    if composite.is_file():
        return read_json(composite).get("model_type") == "musicgen"
    training = _find_training(folder)
    return (folder / STATE_FILE).is_file() or (training is not None and _holds_adapter(training))


def _holds_adapter(path: Path) -> bool:
    """Whether a .ckpt holds tensors of the Instruct-MusicGen adapter."""
    try:
        data = read_pickle(path)
    except CorruptFileError:
        return False
    names = data.get("state_dict") if isinstance(data, dict) else None
    return isinstance(names, dict) and any(str(name).startswith("model.cp_transformer.") for name in names)


def _find_training(folder: Path) -> Path | None:
    """Return the only .ckpt file of the folder, if there is exactly one."""
    found = sorted(folder.glob("*.ckpt"))
    return found[0] if len(found) == 1 else None


def _read(path: Path, folder: Path, auxiliary: AuxiliaryFolders) -> ReadModel:
    if path.suffix == ".ckpt":
        return read_training(path, auxiliary)
    if path.name == STATE_FILE:
        return read_audiocraft(path, auxiliary)
    if (folder / OWN_CONFIG).is_file():
        return read_own(folder)
    if (folder / CONFIG_FILE).is_file() and read_json(folder / CONFIG_FILE).get("model_type") == "musicgen":
        is_bundle = (folder / WEIGHTS_FILE).is_file() and _is_packed(folder / WEIGHTS_FILE)
        return read_bundle(folder, auxiliary) if is_bundle else read_transformers(folder)
    if (folder / STATE_FILE).is_file():
        return read_audiocraft(folder / STATE_FILE, auxiliary)
    training = _find_training(folder)
    if training is None:
        raise ModelNotFoundError(
            f"the folder {folder} is not a MusicGen model",
            f"it needs {CONFIG_FILE} with {WEIGHTS_FILE}, or {STATE_FILE}, or a .ckpt",
        )
    return read_training(training, auxiliary)


def _is_packed(weights: Path) -> bool:
    return any(name.endswith(".scales") for name in read_safetensors(weights))
