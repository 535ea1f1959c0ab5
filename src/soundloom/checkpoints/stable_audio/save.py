"""Write a model in any supported layout, with one tensor in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import atomic_file, write_json
from soundloom.checkpoints.formats.npz import write_npz
from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import FLOAT_DTYPES, LazyTensor, Tensors, from_array
from soundloom.checkpoints.stable_audio.bundle import (
    BUNDLE_BITS,
    DEFAULT_GROUP_SIZE,
    pack_transformer,
    write_bundle_component,
)
from soundloom.checkpoints.stable_audio.components import TextEncoderFiles
from soundloom.checkpoints.stable_audio.infer import AnyConfig, infer_config
from soundloom.checkpoints.stable_audio.layouts import (
    DIT_NPZ,
    SAME_DECODER_NPZ,
    SAME_ENCODER_NPZ,
    SAME_ONLY,
    T5GEMMA_NPZ,
)
from soundloom.checkpoints.stable_audio.open import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from soundloom.checkpoints.stable_audio.shapes import SAME_PREFIX, is_ignorable
from soundloom.config.catalogue import find_entry
from soundloom.config.parse import to_dict
from soundloom.config.stable_audio.model import AutoencoderModelConfig, ModelConfig
from soundloom.config.stable_audio.published import TEXT_ENCODER_FOLDER
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.errors import RequestError

LAYOUTS = ("published", "bf16-mirror", "same-only", "npz", *BUNDLE_BITS)
_METADATA = {"format": "pt"}  # as in the published files; some readers require it


def save_checkpoint(
    folder: Path,
    layout: str,
    config: AnyConfig,
    tensors: Tensors,
    text_encoder: TextEncoderFiles | None = None,
    name: str = "",
    group_size: int = DEFAULT_GROUP_SIZE,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write canonically named tensors into `folder`.

    Names of component files contain `name`, a catalogue name. `group_size` applies to int4 and int8. `metadata` goes
    into the header of a full checkpoint's file; components have none.
    """
    if layout not in LAYOUTS:
        raise RequestError(f"there is no layout {layout!r}", f"use {', '.join(LAYOUTS)}")
    if layout in BUNDLE_BITS:
        save_bundle(folder, config, pack_transformer(tensors, BUNDLE_BITS[layout], group_size), text_encoder, name)
        return
    if layout == "npz":
        _save_npz(folder, config, tensors, text_encoder, name)
        return
    if layout == "same-only":
        config = autoencoder_config(config)
    if isinstance(config, AutoencoderModelConfig):
        tensors = SAME_ONLY.from_canonical(tensors)
    if layout == "bf16-mirror":
        tensors = {key: tensor.cast("BF16") for key, tensor in tensors.items() if not is_ignorable(key)}
    write_safetensors(folder / WEIGHTS_FILE, tensors.values(), {**_METADATA, **(metadata or {})})
    write_json(folder / CONFIG_FILE, to_dict(config))
    if text_encoder is not None and isinstance(config, ModelConfig):
        subfolder = config.model.conditioning.prompt.subfolder or TEXT_ENCODER_FOLDER
        save_text_encoder(folder / subfolder, text_encoder)


def save_text_encoder(folder: Path, text_encoder: TextEncoderFiles) -> None:
    """Write a T5Gemma folder."""
    write_safetensors(folder / WEIGHTS_FILE, text_encoder.tensors.values(), _METADATA)
    write_json(folder / "config.json", text_encoder_dict(text_encoder.config))
    with atomic_file(folder / TOKENIZER_FILE) as file:
        file.write(text_encoder.tokenizer)


def autoencoder_config(config: AnyConfig) -> AutoencoderModelConfig:
    """Return the configuration of a model's autoencoder."""
    if isinstance(config, AutoencoderModelConfig):
        return config
    return AutoencoderModelConfig("autoencoder", config.sample_rate, config.same, audio_channels=config.audio_channels)


def text_encoder_dict(config: T5GemmaConfig) -> dict[str, Any]:
    """Return the encoder part of a T5Gemma `config.json`."""
    encoder = asdict(config) | {"hidden_activation": "gelu_pytorch_tanh", "attention_bias": False}
    return {"model_type": "t5gemma", "is_encoder_decoder": True, "encoder": encoder}


def _save_npz(
    folder: Path, config: AnyConfig, tensors: Tensors, text_encoder: TextEncoderFiles | None, name: str
) -> None:
    for component, stored in _components(config, tensors, text_encoder, name).items():
        precision = "f32" if component.startswith("same_") else "f16"
        write_npz(folder / f"{component}_{precision}.npz", stored)
    _save_config_if_needed(folder, config, tensors, name)


def save_bundle(
    folder: Path, config: AnyConfig, tensors: Tensors, text_encoder: TextEncoderFiles | None, name: str = ""
) -> None:
    """Write a bundle without quantizing further weights; `save_checkpoint` quantizes for int4 and int8."""
    for component, stored in _components(config, tensors, text_encoder, name).items():
        write_bundle_component(folder / component.replace("-", "_"), stored)
    _save_config_if_needed(folder, config, tensors, name)


def _save_config_if_needed(folder: Path, config: AnyConfig, tensors: Tensors, name: str) -> None:
    """Write the configuration unless opening would infer the same one, as for published components."""
    entry = find_entry(name)
    if entry is None or infer_config(tensors, entry.parsed_config()) != config:
        write_json(folder / CONFIG_FILE, to_dict(config))


def _components(
    config: AnyConfig, tensors: Tensors, text_encoder: TextEncoderFiles | None, name: str
) -> dict[str, list[LazyTensor]]:
    """Split a model into component files: transformer and text encoder in float16, autoencoder in float32."""
    entry = find_entry(name)
    same = {key: tensor for key, tensor in tensors.items() if key.startswith(SAME_PREFIX) and not is_ignorable(key)}
    letter = "s" if config.same.encoder.config.sliding_window is None else "l"
    components = {
        f"same_{letter}_{half}": list(_as(layout.from_canonical(same), "F32"))
        for half, layout in (("encoder", SAME_ENCODER_NPZ), ("decoder", SAME_DECODER_NPZ))
    }
    if isinstance(config, ModelConfig):
        variant = entry.aliases[0] if entry and entry.aliases else name or ("medium" if letter == "l" else "sm-music")
        dit = {key: tensor for key, tensor in tensors.items() if not key.startswith(SAME_PREFIX)}
        components[f"dit_{variant}"] = [
            tensor if isinstance(tensor, PackedTensor) else tensor.cast(_transformer_dtype(tensor.name))
            for tensor in DIT_NPZ.from_canonical(dit).values()
        ]
    if text_encoder is not None:
        components["t5gemma"] = _text_encoder_arrays(text_encoder)
    return components


def _transformer_dtype(name: str) -> str:
    return "F32" if name.startswith("cond.") else "F16"


def _text_encoder_arrays(text_encoder: TextEncoderFiles) -> list[LazyTensor]:
    meta = json.dumps(asdict(text_encoder.config)).encode()
    return [
        *_as(T5GEMMA_NPZ.from_canonical(text_encoder.tensors), "F16"),
        from_array("META", np.frombuffer(meta, np.uint8)),
        from_array("TOKENIZER_MODEL", np.frombuffer(text_encoder.tokenizer, np.uint8)),
    ]


def _as(tensors: Tensors, dtype: str) -> Iterable[LazyTensor]:
    return (tensor.cast(dtype) if tensor.dtype in FLOAT_DTYPES else tensor for tensor in tensors.values())
