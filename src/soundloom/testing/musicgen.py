"""Create MusicGen and Instruct-MusicGen checkpoints with random weights in any layout, for tests and benchmarks.

`python -m soundloom.testing.musicgen large FOLDER --layout musicgen`. Sizes: `full` as published, `tiny` a few
megabytes with the published rates, codebooks and heads. Layouts: `musicgen` is soundloom's own, `int4` and `int8` its
quantized forms, `bundle` the published MLX one; `transformers`, `audiocraft` and `instruct` are those of the published
repositories. Outputs are finite noise.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.musicgen.save import lm_bits, pack_lm, save_musicgen
from soundloom.checkpoints.musicgen.shapes import musicgen_shapes
from soundloom.checkpoints.stable_audio.bundle import BUNDLE_BITS, DEFAULT_GROUP_SIZE
from soundloom.config.musicgen.model import MusicGenConfig, T5Config, published_musicgen
from soundloom.testing.published_musicgen import WRITERS
from soundloom.testing.stable_audio import random_tensor
from soundloom.text.tokenizer_training import train_sentencepiece

LAYOUTS = ("musicgen", *BUNDLE_BITS, *WRITERS)
_TINY_WIDTH, _TINY_LAYERS, _TINY_CODEBOOK, _TINY_TEXT = 128, 2, 64, 32
_INSTRUMENTS = ("drums", "bass", "piano", "guitar")
_SENTENCES = (
    *(f"Music piece. Instruct: {verb} {name.title()}." for verb in ("Add", "No", "Only") for name in _INSTRUMENTS),
    "A slow piano melody over warm strings.",
    "Kick drum loop, 120 BPM, bright snare and open hats.",
)


def tiny_musicgen(config: MusicGenConfig) -> MusicGenConfig:
    """Shrink a configuration in width and depth; lengths in samples and frames stay."""
    t5 = T5Config(vocab_size=96, d_model=_TINY_TEXT, d_kv=8, d_ff=48, num_layers=_TINY_LAYERS, num_heads=4)
    encodec = replace(config.encodec, num_filters=2, hidden_size=8, codebook_size=_TINY_CODEBOOK)
    lm = replace(
        config.lm,
        hidden_size=_TINY_WIDTH,
        num_hidden_layers=_TINY_LAYERS,
        num_attention_heads=_TINY_WIDTH // config.lm.head_dim,
        ffn_dim=4 * _TINY_WIDTH,
        vocab_size=_TINY_CODEBOOK,
        text_width=_TINY_TEXT,
    )
    return replace(config, t5=t5, encodec=encodec, lm=lm)


def make_musicgen(config: MusicGenConfig, folder: Path, layout: str = "musicgen", seed: int = 0) -> Path:
    """Write deterministic random weights into `folder`, and return it.

    The layout `instruct` needs a configuration with an adapter, `transformers` and `audiocraft` one without.
    """
    tensors = {name: random_tensor(name, shape, seed, _values) for name, shape in musicgen_shapes(config).items()}
    tokenizer = train_tokenizer(config.t5.vocab_size)
    if layout == "musicgen":
        save_musicgen(folder, config, tensors, tokenizer)
    elif layout in BUNDLE_BITS:
        bits = lm_bits(tensors, BUNDLE_BITS[layout], DEFAULT_GROUP_SIZE)
        save_musicgen(folder, config, pack_lm(tensors, bits, DEFAULT_GROUP_SIZE), tokenizer)
    else:
        WRITERS[layout](folder, config, tensors, tokenizer)
    write_hashes(folder)
    return folder


def _values(name: str, noise: np.ndarray) -> np.ndarray:
    """Scale unit normal noise such that activations keep their magnitude."""
    if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "norm_cross.weight")):
        return 1 + np.float32(0.02) * noise
    if name.endswith("bias"):
        return np.float32(0.02) * noise
    if name.endswith(("gates", "pos_emb", ".embed")) or ".emb." in name or "relative_attention_bias" in name:
        return np.float32(0.5) * noise
    return noise / np.float32(np.sqrt(np.prod(noise.shape[1:])))


def train_tokenizer(pieces: int) -> bytes:
    """Train a SentencePiece model with T5's special ids on a few sentences."""
    return train_sentencepiece(_SENTENCES, min(pieces, 96), model_type="unigram", unk_id=2, bos_id=-1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m soundloom.testing.musicgen", description=__doc__)
    parser.add_argument("model", choices=("small", "medium", "large"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--instruct", action="store_true", help="with the adapter")
    parser.add_argument("--layout", choices=LAYOUTS, default="musicgen")
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    args: Any = parser.parse_args(arguments)
    config = published_musicgen(args.model, instruct=args.instruct)
    make_musicgen(tiny_musicgen(config) if args.size == "tiny" else config, args.folder, args.layout, args.seed)


if __name__ == "__main__":
    main()
