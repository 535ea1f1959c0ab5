"""Open Stable Audio checkpoints by name, folder or file, with tensors under canonical names.

Only headers and a few pages for the fingerprint are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.fingerprint import fingerprint
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
from soundloom.checkpoints.hub.fetch import DownloadKwargs, fetch
from soundloom.checkpoints.stable_audio.bundle import COMPONENT_FILE, bundle_layout, is_bundle_component
from soundloom.checkpoints.stable_audio.components import (
    TextEncoderFiles,
    find_files,
    join_names,
    merge,
    open_component,
    open_text_encoder_component,
    pick_file,
    read_tokenizer_file,
    variant_of,
)
from soundloom.checkpoints.stable_audio.infer import AnyConfig, infer_config
from soundloom.checkpoints.stable_audio.layouts import SAME_ONLY
from soundloom.checkpoints.stable_audio.shapes import SAME_PREFIX, model_shapes, t5gemma_shapes
from soundloom.config.catalogue import find_entry, packaged_folder, require_entry
from soundloom.config.entries import ModelEntry
from soundloom.config.stable_audio.model import AutoencoderModelConfig, ModelConfig, read_model_config
from soundloom.config.stable_audio.published import TEXT_ENCODER_FOLDER
from soundloom.config.stable_audio.text_encoder import parse_text_encoder_config
from soundloom.errors import CheckpointError, CorruptFileError, MismatchError, ModelNotFoundError
from soundloom.folders import expanded
from soundloom.untrusted.json import read_json

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "model_config.json", "model.safetensors", "tokenizer.model"
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_REPO_PREFIX = "stable-audio-3-"


@dataclass(frozen=True)
class Checkpoint:
    """An opened model. Tensors have the names of the published full checkpoints.

    `layout` is published, bf16-mirror, same-only, npz, int4, int8 or mixed. `fingerprint` identifies the tensors: see
    `checkpoints.fingerprint`. `text_encoder` is None if no files of one were found. `files` are all files with weights.
    """

    name: str
    config: AnyConfig
    tensors: Mapping[str, LazyTensor]
    text_encoder: TextEncoderFiles | None
    layout: str
    fingerprint: str
    path: Path
    license: str
    files: tuple[Path, ...]

    def component(self, prefix: str) -> dict[str, LazyTensor]:
        """Return the tensors of a component, with its prefix removed from their names."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def open_checkpoint(
    source: str | Path,
    *,
    config: ModelConfig | None = None,
    **options: Unpack[DownloadKwargs],
) -> Checkpoint:
    """Open a catalogue name (`small-music`, or `small-music@npz` for another layout), a folder or a file.

    `config` replaces the configuration next to the weights. `options` are for downloads.
    Raises ModelNotFoundError, ConfigError, CheckpointError or DownloadError.
    """
    name, _, layout = str(source).partition("@")
    entry = find_entry(name) if isinstance(source, str) else None
    path = expanded(source)
    if entry is None and path.is_dir():
        return _open_folder(path, config)
    if entry is None and path.is_file():
        return _open_file(path, config)
    if entry is None and (isinstance(source, Path) or len(path.parts) > 1 or path.suffix):
        raise ModelNotFoundError(f"there is no file or folder {path}", "give an existing path or the name of a model")
    entry = require_entry(name)
    if entry.is_musicgen:
        raise ModelNotFoundError(
            f"{entry.name} is a MusicGen model, but this needs a Stable Audio model",
            "MusicGen works with `soundloom generate`, `edit`, `quantize`, `models` and `train instruct`; "
            "use mini or small-music here",
        )
    if entry.is_packaged:
        if layout:
            entry.source(layout)  # raises, since packaged models have one layout
        return _open_packaged(entry, config)
    fetched = fetch(entry, layout or "published", **options)
    if fetched.weights.suffix == ".npz":
        return _open_components(fetched.weights, config)
    return _open_safetensors(fetched.weights, config, entry=entry, text_encoder=fetched.text_encoder)


def _open_packaged(entry: ModelEntry, config: ModelConfig | None) -> Checkpoint:
    folder = packaged_folder(entry.name)
    if not (folder / WEIGHTS_FILE).is_file():
        raise ModelNotFoundError(
            f"this installation lacks the model {entry.name}: there is no {folder / WEIGHTS_FILE}",
            "reinstall soundloom, or use another model",
        )
    return _open_safetensors(folder / WEIGHTS_FILE, config, entry=entry)


def _open_folder(folder: Path, config: ModelConfig | None) -> Checkpoint:
    if (folder / WEIGHTS_FILE).is_file():
        return _open_file(folder / WEIGHTS_FILE, config)
    for form in (".npz", f"/{COMPONENT_FILE}"):
        for pattern in ("dit_*", "same_*encoder*"):
            if find_files(folder, pattern + form):
                return _open_components(pick_file(folder, pattern + form), config)
    pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in _PICKLES]
    if pickles:
        raise _pickle_error(folder / pickles[0])
    models = join_names(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    hint = f"models in it: {models}" if models else f"it needs {WEIGHTS_FILE} with {CONFIG_FILE}, or npz files"
    raise ModelNotFoundError(f"the folder {folder} is not a model", hint)


def _open_file(path: Path, config: ModelConfig | None) -> Checkpoint:
    if path.suffix == ".npz" or (is_bundle_component(path) and not (path.parent / CONFIG_FILE).is_file()):
        return _open_components(path, config)
    if path.suffix == ".safetensors":
        return _open_safetensors(path, config)
    if path.suffix in _PICKLES:
        raise _pickle_error(path)
    if path.name == CONFIG_FILE:
        return _open_folder(path.parent, config)
    raise CheckpointError(f"{path} is not a checkpoint", "use a .safetensors or .npz file")


def _pickle_error(path: Path) -> CorruptFileError:
    return CorruptFileError(
        f"{path} is a pickle; loading it could run code, so it is never opened",
        "use the .safetensors file of the same model",
    )


def _open_safetensors(
    weights: Path,
    config: AnyConfig | None,
    *,
    entry: ModelEntry | None = None,
    text_encoder: Path | None = None,
) -> Checkpoint:
    """Open the published layout, the BF16 mirror or a standalone autoencoder."""
    folder = weights.parent
    config = config or _config_beside(weights)
    tensors = read_safetensors(weights)
    alone = not any(name.startswith(SAME_PREFIX) for name in tensors) and isinstance(config, AutoencoderModelConfig)
    if alone:
        tensors = SAME_ONLY.to_canonical(tensors)
    tensors = require_match(tensors, model_shapes(config), str(weights))
    half = any(tensor.dtype == "BF16" for tensor in tensors.values())
    files = None
    if isinstance(config, ModelConfig):
        found = text_encoder or find_text_encoder(folder, config)
        files = open_text_encoder(found) if found else None
    layout = "same-only" if alone else "bf16-mirror" if half else "published"
    return _checkpoint(entry, [weights], config, tensors, files, layout, folder)


def _config_beside(weights: Path) -> AnyConfig:
    path = weights.parent / CONFIG_FILE
    if not path.is_file():
        raise ModelNotFoundError(f"there is no {CONFIG_FILE} next to {weights}", "download it from the same repository")
    return read_model_config(path)


def _open_components(path: Path, config: AnyConfig | None) -> Checkpoint:
    """Open a component in an npz file or a bundle's folder, together with the components next to it.

    The variant in the file name supplies what shapes do not reveal. With a configuration next to the components, the
    model is a custom one that only borrows the variant's name.
    """
    in_bundle = path.suffix != ".npz"
    folder, form = (path.parent.parent, f"/{COMPONENT_FILE}") if in_bundle else (path.parent, ".npz")
    variant = variant_of(path)
    letter = (variant.autoencoder or variant.name)[-1] if variant.sources else "*"
    parts = [pick_file(folder, f"same_{letter}_{half}*{form}") for half in ("encoder", "decoder")]
    generative = variant.kind == "generator"
    if generative:
        parts.insert(0, path)
    tensors = merge(map(open_component, parts), folder)
    is_custom = (folder / CONFIG_FILE).is_file()
    if config is None and is_custom:
        config = read_model_config(folder / CONFIG_FILE)
    config = config or infer_config(tensors, variant.parsed_config())
    tensors = require_match(tensors, model_shapes(config), str(path))
    text_files = find_files(folder, f"t5gemma*{form}")
    files = open_text_encoder_component(text_files[0]) if generative and text_files else None
    layout = bundle_layout(tensors.values()) if in_bundle else "npz"
    return _checkpoint(None if is_custom else variant, parts, config, tensors, files, layout, folder)


def find_text_encoder(folder: Path, config: ModelConfig) -> Path | None:
    """Return the text encoder's folder: inside the model's, next to it, or in the sibling that a base model shares."""
    prompt = config.model.conditioning.prompt
    parent, shared = folder.resolve().parent, prompt.repo_id.rpartition("/")[2]
    places = [folder, parent]
    if shared:
        places += [parent / shared, parent / shared.removeprefix(_REPO_PREFIX)]
    names = dict.fromkeys((prompt.subfolder or TEXT_ENCODER_FOLDER, TEXT_ENCODER_FOLDER))
    candidates = (place / name for place in places for name in names)
    return next((path for path in candidates if (path / WEIGHTS_FILE).is_file()), None)


def open_text_encoder(folder: Path) -> TextEncoderFiles:
    """A T5Gemma folder: `config.json`, `model.safetensors`, `tokenizer.model`."""
    for name in ("config.json", WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise ModelNotFoundError(f"the text encoder in {folder} lacks {name}", "download it too")
    config = parse_text_encoder_config(read_json(folder / "config.json"))
    tensors = require_match(read_safetensors(folder / WEIGHTS_FILE), t5gemma_shapes(config), str(folder / WEIGHTS_FILE))
    return TextEncoderFiles(config, tensors, read_tokenizer_file(folder / TOKENIZER_FILE), folder / WEIGHTS_FILE)


def _checkpoint(
    entry: ModelEntry | None,
    weights: list[Path],
    config: AnyConfig,
    tensors: Tensors,
    text_encoder: TextEncoderFiles | None,
    layout: str,
    folder: Path,
) -> Checkpoint:
    if text_encoder is not None and isinstance(config, ModelConfig):
        _require_same_width(text_encoder, config)
    entry = entry or _entry_of_folder(folder)
    everything = [*tensors.values(), *(text_encoder.tensors.values() if text_encoder else ())]
    return Checkpoint(
        name=entry.name if entry else folder.resolve().name,
        config=config,
        tensors=tensors,
        text_encoder=text_encoder,
        layout=layout,
        fingerprint=fingerprint(everything),
        path=folder,
        license=entry.license if entry else "unknown; see the files next to the weights",
        files=(*weights, *([text_encoder.path] if text_encoder else ())),
    )


def _require_same_width(text_encoder: TextEncoderFiles, config: ModelConfig) -> None:
    found, wanted = text_encoder.config.hidden_size, config.model.conditioning.cond_dim
    if found != wanted:
        raise MismatchError(
            f"the text encoder {text_encoder.path} has width {found}, the model needs {wanted}",
            "use the text encoder of the model's own repository",
        )


def _entry_of_folder(folder: Path) -> ModelEntry | None:
    """Return the catalogue entry whose repository has the name of `folder`."""
    return find_entry(folder.resolve().name.lower().removeprefix(_REPO_PREFIX))
