"""Open the codec and the text encoder of MusicGen, which most layouts keep in separate files.

The codec is `compression_state_dict.bin` or a copy of facebook/encodec_32khz. The text encoder is a copy of t5-base
with its SentencePiece model. Each may be inside the model's folder or next to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.checkpoints.formats.pickle import read_pickle, tensors_of
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.musicgen.infer import infer_encodec
from soundloom.checkpoints.musicgen.layouts import CODEC_AUDIOCRAFT, CODEC_TRANSFORMERS, fold_weight_norms
from soundloom.checkpoints.stable_audio.components import read_tokenizer_file
from soundloom.checkpoints.stable_audio.layouts import Layout, Row
from soundloom.config.musicgen.encodec import EncodecConfig
from soundloom.config.musicgen.model import T5Config, parse_encodec_config, parse_t5_config
from soundloom.errors import ConfigError, CorruptFileError, ModelNotFoundError, shown
from soundloom.untrusted.json import is_file_name, read_json

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "spiece.model"
INDEX_FILE, PICKLED_WEIGHTS = "model.safetensors.index.json", "pytorch_model.bin"
CODEC_PICKLE = "compression_state_dict.bin"
_MAX_SHARDS = 256
T5_FOLDERS = ("t5-base", "t5")
CODEC_FOLDERS = ("encodec_32khz", "encodec")

T5 = Layout((Row("*", "*"),), optional=("decoder.*", "lm_head.weight", "encoder.embed_tokens.weight"))


@dataclass(frozen=True)
class CodecFiles:
    """A codec with canonical names; `path` is its weight file, `stored` the tensors in that file."""

    config: EncodecConfig
    tensors: Tensors
    path: Path
    stored: Tensors


@dataclass(frozen=True)
class T5Files:
    """A text encoder with canonical names and its SentencePiece model; `path` and `stored` as in `CodecFiles`."""

    config: T5Config
    tensors: Tensors
    tokenizer: bytes
    path: Path
    stored: Tensors


def read_weights(folder: Path) -> tuple[list[Path], Tensors]:
    """Read the weights of a transformers folder: one file, shards with an index, or a pickle, in this order."""
    if (folder / WEIGHTS_FILE).is_file():
        files = [folder / WEIGHTS_FILE]
    elif (folder / INDEX_FILE).is_file():
        files = [folder / name for name in _shards(folder / INDEX_FILE)]
    elif (folder / PICKLED_WEIGHTS).is_file():
        path = folder / PICKLED_WEIGHTS
        return [path], tensors_of(read_pickle(path), str(path))
    else:
        raise ModelNotFoundError(f"{folder} has no {WEIGHTS_FILE}", "download it from the same repository")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelNotFoundError(f"{folder} lacks {shown(', '.join(missing))}", "download them too")
    return files, {name: tensor for file in files for name, tensor in read_safetensors(file).items()}


def _shards(index: Path) -> list[str]:
    """Return the shards that an index lists; they must be in its folder."""
    found = read_json(index).get("weight_map")
    names: list[Any] = list(found.values()) if isinstance(found, Mapping) else [None]
    for name in names:
        if not is_file_name(name):
            raise ConfigError(f"the weight_map of {index} must list file names, found {shown(name)}")
    if len(set(names)) > _MAX_SHARDS:
        raise ConfigError(f"{index} lists {len(set(names))} files, more than the limit of {_MAX_SHARDS}")
    return list(dict.fromkeys(names))


def open_codec(folder: Path, auxiliary: Path | None = None) -> CodecFiles:
    """Open the codec in a model's folder, or in the folder `auxiliary`. Raises ModelNotFoundError if there is none."""
    for place in filter(None, (folder, auxiliary)):
        if (place / CODEC_PICKLE).is_file():
            data = read_pickle(place / CODEC_PICKLE)
            # In some repositories the file only names another repository.
            if not (isinstance(data, dict) and "pretrained" in data):
                return _audiocraft_codec(place / CODEC_PICKLE, data)
    found = auxiliary if auxiliary and (auxiliary / CONFIG_FILE).is_file() else find_folder(folder, CODEC_FOLDERS)
    if found is None:
        raise ModelNotFoundError(
            f"{folder} has no codec",
            f"add {CODEC_PICKLE}, or a copy of facebook/encodec_32khz next to it as {CODEC_FOLDERS[0]}",
        )
    files, stored = read_weights(found)
    config = parse_encodec_config(_with_quantizers(read_json(found / CONFIG_FILE), stored))
    return CodecFiles(config, fold_weight_norms(CODEC_TRANSFORMERS.to_canonical(stored)), files[0], stored)


def _with_quantizers(data: Mapping[str, Any], tensors: Tensors) -> Mapping[str, Any]:
    """Add the number of quantizers, which transformers only implies by a bandwidth."""
    return {"num_quantizers": sum(name.endswith(".codebook.embed") for name in tensors), **data}


def _audiocraft_codec(path: Path, data: Any) -> CodecFiles:
    stored, training = best_state(data, path)
    tensors = fold_weight_norms(CODEC_AUDIOCRAFT.to_canonical(stored))
    return CodecFiles(infer_encodec(tensors, training), tensors, path, stored)


def best_state(data: Any, path: Path) -> tuple[Tensors, str]:
    """Return the tensors of an audiocraft file and its training configuration as YAML text, "" without one."""
    if not isinstance(data, dict) or "best_state" not in data:
        raise CorruptFileError(f"{path} is not an audiocraft checkpoint: it has no best_state")
    state, training = data["best_state"], data.get("xp.cfg", "")
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    return tensors_of(state, str(path)), training if isinstance(training, str) else ""


def open_t5(folder: Path, auxiliary: Path | None = None) -> T5Files:
    """Open the text encoder in `auxiliary`, or in or next to a model's folder. Raises ModelNotFoundError."""
    found = auxiliary or find_folder(folder, T5_FOLDERS)
    if found is None:
        raise ModelNotFoundError(
            f"{folder} has no text encoder", f"add a copy of google-t5/t5-base as {T5_FOLDERS[0]}, inside or next to it"
        )
    config = parse_t5_config(read_json(found / CONFIG_FILE))
    files, stored = read_weights(found)
    return T5Files(config, canonical_t5(stored), read_tokenizer(found), files[0], stored)


def canonical_t5(stored: Tensors) -> Tensors:
    """Return the tensors of the encoder; its token embedding has either of two names."""
    alias, name = "encoder.embed_tokens.weight", "shared.weight"
    tensors = T5.to_canonical(stored)
    return tensors if name in tensors or alias not in stored else {**tensors, name: stored[alias].renamed(name)}


def read_tokenizer(folder: Path) -> bytes:
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise ModelNotFoundError(f"{folder} has no tokenizer {TOKENIZER_FILE}", "download it from the same repository")
    return read_tokenizer_file(path)


def find_folder(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder with one of these names, inside or next to `folder`."""
    places = (place / name for place in (folder, folder.resolve().parent) for name in names)
    return next((path for path in places if (path / CONFIG_FILE).is_file()), None)
