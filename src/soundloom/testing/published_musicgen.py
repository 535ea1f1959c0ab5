"""Write MusicGen and Instruct-MusicGen in the layouts of their repositories, including tensors that readers ignore.

Used only with random weights, for tests and benchmarks. Pickled layouts need PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.atomic import atomic_file, write_json
from soundloom.checkpoints.formats.packed import stored_parts
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import Array, LazyTensor, Tensors, from_array
from soundloom.checkpoints.musicgen import layouts
from soundloom.checkpoints.musicgen.components import (
    CODEC_PICKLE,
    CONFIG_FILE,
    T5_FOLDERS,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
)
from soundloom.checkpoints.musicgen.open import STATE_FILE
from soundloom.checkpoints.musicgen.save import lm_bits, pack_lm
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, ENCODEC_PREFIX, LM_PREFIX, T5_PREFIX
from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.checkpoints.stable_audio.layouts import Layout, Row
from soundloom.config.musicgen.encodec import EncodecConfig
from soundloom.config.musicgen.model import MusicGenConfig

TRAINING_FILE = "finetuned.ckpt"
BITS = 4


def save_transformers(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write one file with all components, weight norms and the position table, as transformers does."""
    lm = layouts.split_projections(_component(tensors, LM_PREFIX), "self_attn")
    table = "decoder.model.decoder.embed_positions.weights"
    codec = _with_weight_norms(_component(tensors, ENCODEC_PREFIX)) | _codebook_state(config.encodec)
    stored = [
        *layouts.LM_TRANSFORMERS.from_canonical(lm).values(),
        *(tensor.renamed(f"text_encoder.{name}") for name, tensor in _component(tensors, T5_PREFIX).items()),
        *(tensor.renamed(f"audio_encoder.{name}") for name, tensor in codec.items()),
        from_array(table, np.zeros((8, config.lm.hidden_size), np.float32)),
    ]
    write_safetensors(folder / WEIGHTS_FILE, stored, {"format": "pt"})
    write_json(folder / CONFIG_FILE, _composite_config(config))
    _write(folder / TOKENIZER_FILE, tokenizer)


def save_audiocraft(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write language model and codec as pickles with their training configurations, as audiocraft does."""
    lm = layouts.join_projections(_component(tensors, LM_PREFIX), "cross_attention")
    stored = {name: t.cast("F16") for name, t in layouts.LM_AUDIOCRAFT.from_canonical(lm).items()}
    training = f"transformer_lm:\n  num_heads: {config.lm.num_attention_heads}\n"
    _save_pickle(folder / STATE_FILE, {"best_state": _to_torch(stored), "xp.cfg": training})
    _save_auxiliary(folder, config, tensors, tokenizer)


def save_instruct(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write the training checkpoint: with LoRA, duplicate layers and unused projections."""
    lm = _component(tensors, LM_PREFIX)
    adapter = {name: tensor for name, tensor in tensors.items() if name.startswith(ADAPTER_PREFIX)}
    state = _to_torch(layouts.LIGHTNING.from_canonical(_with_lora(lm, config) | adapter))
    layers = "model.peft_model.lm.transformer.base_model.model.layers."
    for name in [name for name in state if name.startswith(layers)]:
        if "cross" not in name:
            state[name.replace(layers, "model.cp_transformer.layers.")] = state[name]
        if name.endswith("self_attn.in_proj_weight"):
            unused = state[name].chunk(3)
            state |= {name.replace("in_proj_weight", f"{part}_proj.weight"): -unused[0] for part in layouts.PROJECTIONS}
            state[name.replace("self_attn", "cross_attention")] = -state[name]
    state["train_loss.mean_value"] = state["model.cp_transformer.gates"].sum()
    training = {"state_dict": state, "hyper_parameters": {"model": Path(TRAINING_FILE)}, "epoch": 3}
    _save_pickle(folder / TRAINING_FILE, training)
    _save_auxiliary(folder, config, tensors, tokenizer)


def save_bundle(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write the MLX bundle: packed weights and merged adapter in one file, the codec as a pickle."""
    packed = pack_lm(tensors, lm_bits(tensors, BITS, DEFAULT_GROUP_SIZE), DEFAULT_GROUP_SIZE)
    lm = layouts.split_projections(_component(packed, LM_PREFIX), "self_attn")
    stored = list(layouts.LM_BUNDLE.from_canonical(lm).values())
    stored += [tensor for name, tensor in packed.items() if name.startswith(ADAPTER_PREFIX)]
    write_safetensors(folder / WEIGHTS_FILE, stored_parts(stored), {"format": "mlx"})
    quantization = {"quantization": {"bits": BITS, "group_size": DEFAULT_GROUP_SIZE}}
    write_json(folder / CONFIG_FILE, _composite_config(config) | quantization)
    _save_auxiliary(folder, config, tensors, tokenizer)


WRITERS: dict[str, Callable[[Path, MusicGenConfig, Tensors, bytes], None]] = {
    "transformers": save_transformers,
    "audiocraft": save_audiocraft,
    "instruct": save_instruct,
    "bundle": save_bundle,
}


def _save_auxiliary(folder: Path, config: MusicGenConfig, tensors: Tensors, tokenizer: bytes) -> None:
    """Write the codec's pickle and the text encoder's folder."""
    codec = _with_weight_norms(_component(tensors, ENCODEC_PREFIX)) | _codebook_state(config.encodec)
    stored = _audiocraft_codec(config.encodec).from_canonical(codec)
    training = f"sample_rate: {config.sample_rate}\nseanet:\n  pad_mode: {config.encodec.pad_mode}\n"
    _save_pickle(folder / CODEC_PICKLE, {"best_state": _to_torch(stored), "xp.cfg": training})
    t5 = folder / T5_FOLDERS[0]
    write_safetensors(t5 / WEIGHTS_FILE, _component(tensors, T5_PREFIX).values(), {"format": "pt"})
    write_json(t5 / CONFIG_FILE, _t5_config(config))
    _write(t5 / TOKENIZER_FILE, tokenizer)


def _composite_config(config: MusicGenConfig) -> dict[str, Any]:
    """Return the `config.json` of transformers, without unrelated fields."""
    decoder = {**asdict(config.lm), "activation_function": "gelu", "scale_embedding": False}
    codec = {**asdict(config.encodec), "model_type": "encodec"}
    return {
        "model_type": "musicgen",
        "decoder": {name: value for name, value in decoder.items() if name != "text_width"},
        "audio_encoder": {name: value for name, value in codec.items() if name != "num_quantizers"},
        "text_encoder": _t5_config(config),
    }


def _t5_config(config: MusicGenConfig) -> dict[str, Any]:
    return {**asdict(config.t5), "model_type": "t5", "feed_forward_proj": "relu"}


def _component(tensors: Tensors, prefix: str) -> Tensors:
    start = len(prefix)
    return {name[start:]: t.renamed(name[start:]) for name, t in tensors.items() if name.startswith(prefix)}


# The inverse of what readers do


def _with_weight_norms(codec: Tensors) -> Tensors:
    """Represent each convolution by direction and length."""
    result = dict(codec)
    for name in [name for name in codec if name.endswith(".conv.weight")]:
        weight = result.pop(name)
        length = weight.derive((weight.shape[0], 1, 1), _length, f"{name}_g")
        result |= {length.name: length, f"{name}_v": weight.renamed(f"{name}_v")}
    return result


def _length(weight: Array) -> Array:
    return np.sqrt(np.square(weight, dtype=np.float64).sum(axis=(1, 2), keepdims=True)).astype(np.float32)


def _codebook_state(config: EncodecConfig) -> Tensors:
    """Return the training buffers of codebooks, which readers ignore."""
    shapes = {
        "inited": (1,),
        "cluster_size": (config.codebook_size,),
        "embed_avg": (config.codebook_size, config.hidden_size),
    }
    names = {
        f"quantizer.layers.{stage}.codebook.{name}": shape
        for stage in range(config.num_quantizers)
        for name, shape in shapes.items()
    }
    return {name: from_array(name, np.ones(shape, np.float32)) for name, shape in names.items()}


def _audiocraft_codec(config: EncodecConfig) -> Layout:
    """Return the layout of the codec, which has other names for transposed convolutions."""
    transposed = [index for index, layer in enumerate(config.decoder_layers) if layer.kind == "transposed"]
    rows = [Row(f"decoder.layers.{index}.conv.*", f"decoder.model.{index}.convtr.convtr.*") for index in transposed]
    state = Row("quantizer.layers.*.codebook.*", "quantizer.vq.layers.*._codebook.*")
    return Layout((*rows, *layouts.CODEC_AUDIOCRAFT.rows, state))


def _with_lora(lm: Tensors, config: MusicGenConfig) -> Tensors:
    """Split each merged query and value projection into a base weight and a LoRA pair."""
    assert config.instruct is not None
    result = dict(lm)
    for name in [name for name in lm if name.endswith(("cross_attention.q_proj.weight", "attention.v_proj.weight"))]:
        base, values = name.removesuffix(".weight"), lm[name].numpy()
        random = np.random.default_rng(len(result))
        down = random.standard_normal((config.instruct.lora_rank, values.shape[1])).astype(np.float32)
        up = 0.01 * random.standard_normal((values.shape[0], config.instruct.lora_rank)).astype(np.float32)
        parts = {
            f"{base}.lora_A.weight": down,
            f"{base}.lora_B.weight": up,
            name: values - np.float32(config.instruct.lora_scaling) * (up @ down),
        }
        result |= {part: from_array(part, array) for part, array in parts.items()}
    return result


def _to_torch(tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
    import torch

    arrays = {name: np.array(tensor.numpy()) for name, tensor in tensors.items()}
    return {
        name: torch.from_numpy(array.astype(np.float16) if tensors[name].dtype == "F16" else array)
        for name, array in arrays.items()
    }


def _save_pickle(path: Path, data: dict[str, Any]) -> None:
    import torch

    with atomic_file(path) as file:
        torch.save(data, file)


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)
