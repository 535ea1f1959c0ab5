"""Infer the sizes of MusicGen from tensor shapes, for layouts without a `config.json`.

Sizes that no shape reveals come from the training configuration in audiocraft's files, or are the published ones:
attention heads have 64 channels.
"""

from __future__ import annotations

import re
from typing import Any

from soundloom.checkpoints.compare import depth
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.stable_audio.infer import sizes_of
from soundloom.config.musicgen.encodec import EncodecConfig
from soundloom.config.musicgen.model import InstructConfig, LMConfig
from soundloom.config.parse import parse
from soundloom.errors import ConfigError, MismatchError, shown

_HEAD_WIDTH = 64
_CODEC_LAYER = re.compile(r"decoder\.layers\.(\d+)\.conv\.weight")


def infer_lm(tensors: Tensors, codec: EncodecConfig, training: str = "") -> LMConfig:
    """Infer the configuration of the language model; `training` is its training configuration, as YAML text."""
    width, text_width = sizes_of(tensors, "output_proj.weight", 2)
    codebooks = sum(name.startswith("linears.") for name in tensors)
    heads = _number(training, "transformer_lm", "num_heads")
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": depth(name for name in tensors if name.startswith("transformer.")),
        "num_attention_heads": heads or width // _HEAD_WIDTH,
        "ffn_dim": sizes_of(tensors, "transformer.layers.0.linear1.weight", 2)[0],
        "num_codebooks": codebooks,
        "vocab_size": sizes_of(tensors, "linears.0.weight", 2)[0],
        "text_width": text_width,
        "audio_channels": codebooks // codec.num_quantizers,
    }
    return parse(LMConfig, sizes, "language model")


def infer_adapter(tensors: Tensors) -> InstructConfig:
    """Infer the configuration of the adapter from its position table (layers + 1, frames + 1, width)."""
    return InstructConfig(max_frames=sizes_of(tensors, "pos_emb", 3)[1] - 1)


def infer_encodec(tensors: Tensors, training: str = "") -> EncodecConfig:
    """Infer the configuration of the codec; `training` is its training configuration, as YAML text."""
    width, _, kernel = sizes_of(tensors, "encoder.layers.0.conv.weight", 3)
    hidden, _, residual_kernel = sizes_of(tensors, "encoder.layers.1.block.1.conv.weight", 3)
    codebook_size, latents = sizes_of(tensors, "quantizer.layers.0.codebook.embed", 2)
    indices = sorted(int(match[1]) for match in map(_CODEC_LAYER.fullmatch, tensors) if match)
    kernels = [sizes_of(tensors, f"decoder.layers.{index}.conv.weight", 3)[2] for index in indices]
    units = sum(re.fullmatch(r"decoder\.layers\.\d+\.block\.1\.conv\.weight", name) is not None for name in tensors)
    if len(kernels) < 2:
        raise MismatchError("the codec is incomplete: its decoder has fewer than two convolutions")
    ratios = [size // 2 for size in kernels[1:-1]]
    sizes: dict[str, Any] = {
        "sampling_rate": _number(training, "", "sample_rate") or EncodecConfig.sampling_rate,
        "hidden_size": latents,
        "num_filters": width,
        "upsampling_ratios": ratios,
        "num_residual_layers": units // max(len(ratios), 1),
        "dilation_growth_rate": _number(training, "seanet", "dilation_base") or EncodecConfig.dilation_growth_rate,
        "kernel_size": kernel,
        "residual_kernel_size": residual_kernel,
        "last_kernel_size": kernels[-1],
        "compress": width // hidden,
        "num_lstm_layers": sum(".lstm.weight_ih_l" in name for name in tensors if name.startswith("decoder.")),
        "codebook_size": codebook_size,
        "num_quantizers": sum(name.startswith("quantizer.") for name in tensors),
        "pad_mode": setting(training, "seanet", "pad_mode") or EncodecConfig.pad_mode,
    }
    return parse(EncodecConfig, sizes, "codec")


def _number(training: str, section: str, name: str) -> int:
    """Return an integer from a training configuration, or 0 if it is missing. Raises ConfigError."""
    text = setting(training, section, name)
    if text and not re.fullmatch("[0-9]{1,9}", text):
        raise ConfigError(f"{name} in the training configuration must be an integer, found {shown(text)}")
    return int(text or 0)


def setting(training: str, section: str, name: str) -> str:
    """Return a value from a training configuration, in a section or at the top level; "" if it is missing."""
    body, indent = training, ""
    if section:
        found = re.search(rf"^{section}:\n((?:[ \t]+.*\n?)*)", training, re.MULTILINE)
        body, indent = (found[1] if found else ""), "[ \t]+"
    value = re.search(rf"^{indent}{name}:[ \t]*(\S+)", body, re.MULTILINE)
    return value[1] if value else ""
