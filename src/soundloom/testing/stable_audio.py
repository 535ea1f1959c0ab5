"""Create Stable Audio checkpoints with random weights in any published layout, for tests and benchmarks.

`python -m soundloom.testing.stable_audio small-music FOLDER --layout npz --size tiny`. Outputs are finite noise.
Sizes: `full` as published, `tiny` a few megabytes with the same rates, strides and latent channels.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, Tensors
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.stable_audio.components import TextEncoderFiles
from soundloom.checkpoints.stable_audio.infer import AnyConfig
from soundloom.checkpoints.stable_audio.save import LAYOUTS, autoencoder_config, save_checkpoint
from soundloom.checkpoints.stable_audio.shapes import Shapes, ignorable_shapes, model_shapes, t5gemma_shapes
from soundloom.config.catalogue import PUBLISHED_TEXT_ENCODER, published_config
from soundloom.config.stable_audio.model import AutoencoderModelConfig, DiTConfig, ModelConfig, parse_model_config
from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.text.tokenizer_training import train_sentencepiece

SIZES = ("full", "tiny")
_TINY_WIDTH, _TINY_DEPTH, _TINY_COND, _TINY_VOCABULARY = 128, 2, 64, 128
_TINY_SAME_WIDTH = 64
_LEVEL = 0.2  # of the output layer, which keeps peaks near full scale
_FEATURE_HALF = 128  # number of cosines, followed by as many sines
_SENTENCES = (
    "A soft piano melody over slow warm strings.",
    "Kick drum loop, 120 BPM, with a bright snare and open hats.",
    "Heavy rain on a tin roof; distant thunder rolls.",
    "A small bell rings once, then fades into silence.",
    "Analog synth bass, punchy and dark, 96 BPM in F minor.",
    "Birds sing in the morning while a quiet river flows.",
)


def make_random(
    model: str | AnyConfig, folder: Path, layout: str = "published", size: str = "full", seed: int = 0
) -> Path:
    """Write deterministic random weights for a catalogue name or configuration into `folder`, and return it.

    Only one tensor is in memory at a time.
    """
    name = model if isinstance(model, str) else ""
    config = parse_model_config(published_config(model)) if isinstance(model, str) else model
    text_config = PUBLISHED_TEXT_ENCODER
    if size == "tiny":
        config, text_config = tiny_config(config), tiny_text_encoder(text_config)
    if layout == "same-only":
        config = autoencoder_config(config)
    tensors = _random_tensors(model_shapes(config) | ignorable_shapes(config), seed)
    text_encoder = _random_text_encoder(config, text_config, seed) if isinstance(config, ModelConfig) else None
    save_checkpoint(folder, layout, config, tensors, text_encoder, name)
    write_hashes(folder)
    return folder


def tiny_config(config: AnyConfig) -> AnyConfig:
    """Shrink a configuration in width and depth; lengths in samples and latents stay."""
    if isinstance(config, AutoencoderModelConfig):
        return replace(config, model=_tiny_same(config.model))
    model = config.model
    diffusion = replace(model.diffusion, config=_tiny_dit(config.dit))
    autoencoder = replace(model.pretransform, config=_tiny_same(config.same))
    conditioning = replace(model.conditioning, cond_dim=_TINY_COND)
    return replace(
        config, model=replace(model, diffusion=diffusion, pretransform=autoencoder, conditioning=conditioning)
    )


def tiny_text_encoder(config: T5GemmaConfig) -> T5GemmaConfig:
    """Shrink a text encoder to the conditioning width of tiny models."""
    return replace(
        config,
        hidden_size=_TINY_COND,
        num_hidden_layers=_TINY_DEPTH,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        intermediate_size=96,
        vocab_size=_TINY_VOCABULARY,
        query_pre_attn_scalar=16,
    )


def _tiny_dit(config: DiTConfig) -> DiTConfig:
    return replace(
        config,
        embed_dim=_TINY_WIDTH,
        depth=_TINY_DEPTH,
        num_heads=_TINY_WIDTH // config.head_dim,
        cond_token_dim=_TINY_COND,
        global_cond_dim=_TINY_COND,
    )


def _tiny_same(config: SAMEConfig) -> SAMEConfig:
    return replace(
        config,
        encoder=replace(config.encoder, config=_tiny_half(config.encoder.config)),
        decoder=replace(config.decoder, config=_tiny_half(config.decoder.config)),
    )


def _tiny_half(config: ResamplerConfig) -> ResamplerConfig:
    return replace(
        config,
        channels=_TINY_SAME_WIDTH,
        c_mults=(1,),
        transformer_depths=(_TINY_DEPTH,),
        sinusoidal_blocks=(min(config.sinusoidal_blocks[0], _TINY_DEPTH),),
    )


def _random_text_encoder(config: ModelConfig, text_config: T5GemmaConfig, seed: int) -> TextEncoderFiles:
    text_config = replace(text_config, hidden_size=config.model.conditioning.cond_dim)
    tensors = {name: t.cast("BF16") for name, t in _random_tensors(t5gemma_shapes(text_config), seed).items()}
    return TextEncoderFiles(text_config, tensors, _train_tokenizer(), Path())


def _train_tokenizer() -> bytes:
    """Train a SentencePiece model with Gemma's special ids on a few sentences."""
    return train_sentencepiece(
        _SENTENCES,
        _TINY_VOCABULARY,
        model_type="bpe",
        bos_id=2,
        unk_id=3,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
    )


def _random_tensors(shapes: Shapes, seed: int) -> Tensors:
    return {name: random_tensor(name, shape, seed, _values) for name, shape in shapes.items()}


def random_tensor(name: str, shape: tuple[int, ...], seed: int, values: Callable[[str, Array], Array]) -> LazyTensor:
    """Return a lazy random tensor; `values` computes it from its name and unit normal noise."""

    def sample() -> Array:
        # Seeded by name, so that values do not depend on order or layout.
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return values(name, random.standard_normal(shape, np.float32))

    return LazyTensor(name, "F32", shape, sample, stored=False)


# Functions that turn unit normal noise into tensors, by name suffix; the first match applies.
_RULES: tuple[tuple[tuple[str, ...], Callable[[Array], Array]], ...] = (
    ((".inv_freq",), lambda noise: (10000.0 ** (-np.arange(len(noise)) / len(noise))).astype(np.float32)),
    (("norm.weight",), lambda noise: 0.02 * noise),  # the text encoder adds 1
    ((".gamma", ".alpha", "scaling_factor", "running_std"), lambda noise: 1 + 0.02 * noise),
    (("mapping.weight_g",), lambda noise: np.full_like(noise, _LEVEL)),
    (("weight_g",), np.ones_like),
    (("bias", ".beta", "to_scale_shift_gate", "padding_embedding"), lambda noise: 0.02 * noise),
    (("memory_tokens", "new_tokens"), lambda noise: noise),
    (("to_timestep_embed.0.weight", "embedding.1.weight"), lambda noise: _scale_by_fan_in(noise) * _damping()),
)


def _values(name: str, noise: Array) -> Array:
    for endings, rule in _RULES:
        if name.endswith(endings):
            return rule(noise)
    return _scale_by_fan_in(noise)


def _scale_by_fan_in(noise: Array) -> Array:
    noise /= np.float32(np.sqrt(np.prod(noise.shape[1:])))  # in place, since embeddings are large
    return noise


def _damping() -> Array:
    """Return weights of Fourier features; high frequencies amplify float32 rounding, so they count less."""
    frequencies = np.geomspace(0.5, 10000.0, _FEATURE_HALF)
    return np.tile(1 / (1 + frequencies / 4), 2).astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m soundloom.testing.stable_audio", description=__doc__)
    parser.add_argument("model", help="catalogue name, such as small-music")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="published")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--seed", type=int, default=0)
    args: Any = parser.parse_args(arguments)
    make_random(args.model, args.folder, args.layout, args.size, args.seed)


if __name__ == "__main__":
    main()
