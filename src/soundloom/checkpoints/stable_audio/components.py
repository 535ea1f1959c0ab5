"""Open models that consist of component files without a configuration: npz files and MLX bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.formats.npz import read_npz
from soundloom.checkpoints.formats.tensors import Array, Tensors
from soundloom.checkpoints.stable_audio import infer
from soundloom.checkpoints.stable_audio.bundle import is_bundle_component, read_bundle_component
from soundloom.checkpoints.stable_audio.layouts import (
    DIT_NPZ,
    SAME_DECODER_NPZ,
    SAME_ENCODER_NPZ,
    T5GEMMA_NPZ,
    Layout,
)
from soundloom.checkpoints.stable_audio.shapes import t5gemma_shapes
from soundloom.config.catalogue import CATALOGUE, find_entry
from soundloom.config.entries import ModelEntry
from soundloom.config.stable_audio.model import DiTConfig, ModelConfig
from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig, parse_text_encoder_config
from soundloom.errors import FETCH_AGAIN, CheckpointError, CorruptFileError, MismatchError, ModelNotFoundError, shown
from soundloom.untrusted.json import MAX_JSON_BYTES, decode_json

_MAX_LISTED = 250  # characters
_MAX_TOKENIZER_BYTES = 1 << 26  # bytes; the published ones have a few million


@dataclass(frozen=True)
class TextEncoderFiles:
    """A T5Gemma encoder (`model.encoder.*`) with its SentencePiece model; `path` is its weight file."""

    config: T5GemmaConfig
    tensors: Tensors
    tokenizer: bytes
    path: Path


@dataclass(frozen=True)
class Component:
    """The tensors of one file with canonical names. `kind` is dit, same_encoder or same_decoder."""

    kind: str
    config: DiTConfig | ResamplerConfig
    tensors: Tensors


@dataclass(frozen=True)
class _Kind:
    """How to recognize a component by `marks`, names that only it has, and how to read it."""

    marks: tuple[str, ...]
    layout: Layout
    infer: Callable[[Tensors, ModelEntry], Any]


def _published_same(entry: ModelEntry) -> SAMEConfig:
    return entry.parsed_config().same


def _published_model(entry: ModelEntry) -> ModelConfig:
    config = entry.parsed_config()
    if not isinstance(config, ModelConfig):
        raise ModelNotFoundError(f"{entry.name} is an autoencoder without a transformer")
    return config


_KINDS = {
    "dit": _Kind(
        ("transformer.project_in.weight",),
        DIT_NPZ,
        lambda tensors, entry: infer.infer_dit(tensors, _published_model(entry).dit),
    ),
    "same_encoder": _Kind(
        ("mapping.weight", "scaling_factor"),
        SAME_ENCODER_NPZ,
        lambda tensors, entry: infer.infer_encoder(tensors, _published_same(entry).encoder.config),
    ),
    "same_decoder": _Kind(
        ("mapping.weight", "project_in.weight"),
        SAME_DECODER_NPZ,
        lambda tensors, entry: infer.infer_decoder(tensors, _published_same(entry).decoder.config),
    ),
}


def open_component(path: Path) -> Component:
    """Open a transformer with its conditioner, or one half of an autoencoder, from a single file.

    The name of the npz file or of the bundle's folder gives the variant (`dit_sm-music…`, `same_l_…`); tensor shapes
    give the sizes.
    """
    tensors = _read(path)
    kind = next((kind for kind, traits in _KINDS.items() if all(mark in tensors for mark in traits.marks)), None)
    if kind is None:
        raise CheckpointError(
            f"{path} holds no known component",
            "supported are transformers, and encoders and decoders of autoencoders",
        )
    canonical = _KINDS[kind].layout.to_canonical(tensors)
    return Component(kind, _KINDS[kind].infer(canonical, variant_of(path)), canonical)


def _read(path: Path) -> Tensors:
    return read_npz(path) if path.suffix == ".npz" else read_bundle_component(path)


def open_text_encoder_component(path: Path) -> TextEncoderFiles:
    """Open the text encoder from a file that also holds its configuration and tokenizer as bytes."""
    tensors = _read(path)
    for name in ("META", "TOKENIZER_MODEL"):
        if name not in tensors:
            raise MismatchError(
                f"{path} lacks {name}, the text encoder's {_MEANING[name]}",
                "use t5gemma_f16.npz of the npz files, which holds it",
            )
    try:
        meta = decode_json(tensors["META"].data()[: MAX_JSON_BYTES + 1].tobytes())
    except ValueError as error:
        raise CorruptFileError(f"META of {path} is not JSON: {error}") from error
    config = parse_text_encoder_config(meta)
    canonical = require_match(T5GEMMA_NPZ.to_canonical(tensors), t5gemma_shapes(config), str(path))
    return TextEncoderFiles(config, canonical, _tokenizer(tensors["TOKENIZER_MODEL"].data(), path), path)


def read_tokenizer_file(path: Path) -> bytes:
    """Read the bytes of a SentencePiece model. Raises CorruptFileError for an implausibly large file."""
    with path.open("rb") as file:
        return _tokenizer(np.frombuffer(file.read(_MAX_TOKENIZER_BYTES + 1), np.uint8), path)


def _tokenizer(data: Array, path: Path) -> bytes:
    if len(data) > _MAX_TOKENIZER_BYTES:
        raise CorruptFileError(
            f"the SentencePiece model in {path} has more than {_MAX_TOKENIZER_BYTES} bytes", FETCH_AGAIN
        )
    return data.tobytes()


_MEANING = {"META": "configuration", "TOKENIZER_MODEL": "SentencePiece model"}


def variant_of(path: Path) -> ModelEntry:
    """Return the catalogue entry in a component's name: `dit_NAME[_…].npz`, `dit_NAME/`, `same_s_…` or `same_l_…`.

    Folder names of bundles have underscores instead of hyphens.
    """
    kind, *words = (path.parent.name if is_bundle_component(path) else path.stem).lower().split("_")
    names = [f"same-{words[0]}"] if kind == "same" and words else []
    if kind == "dit":
        names = ["-".join(words[:end]) for end in range(len(words), 0, -1)]
    entry = next(filter(None, map(find_entry, names)), None)
    if entry is None:
        known = ", ".join(f"dit_{key}" for key, entry in CATALOGUE.items() if entry.kind == "generator")
        raise ModelNotFoundError(
            f"the name of {path} does not contain its model",
            f"names of component files and folders start with same_s, same_l, dit_sm-music, dit_sm-sfx, {known}",
        )
    return entry


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Return the matching files of a folder, sorted by name."""
    return sorted(folder.glob(pattern))


def pick_file(folder: Path, pattern: str) -> Path:
    """Return the only matching file of a folder. Raises ModelNotFoundError for none or several."""
    found = find_files(folder, pattern)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelNotFoundError(f"{folder} has no {pattern}", f"it holds {_names(folder, folder.iterdir())}")
    raise ModelNotFoundError(
        f"{folder} has several {pattern}: {_names(folder, found)}", "give the file instead of the folder"
    )


def _names(folder: Path, paths: Iterable[Path]) -> str:
    return join_names(str(path.relative_to(folder)) for path in paths) or "nothing"


def join_names(names: Iterable[str]) -> str:
    """Join sorted names for a message, and truncate a long list."""
    listed = ", ".join(map(shown, sorted(names)))
    return listed if len(listed) <= _MAX_LISTED else f"{listed[:_MAX_LISTED]}…"


def merge(components: Iterable[Component], where: Path) -> Tensors:
    """Merge the tensors of components. Raises MismatchError if a tensor that two of them hold differs."""
    merged: Tensors = {}
    for component in components:
        for name, tensor in component.tensors.items():
            if name in merged and merged[name].data().tobytes() != tensor.data().tobytes():
                raise MismatchError(f"the components in {where} disagree on {name}", "they belong to different models")
            merged[name] = tensor
    return merged
