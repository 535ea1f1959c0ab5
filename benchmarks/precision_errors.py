"""Print the error of each precision relative to FP32: one velocity, and clips through the autoencoder.

    OMP_NUM_THREADS=2 python benchmarks/precision_errors.py [--model small-music] [--seconds 30] [--precisions bf16 …]

`--model` is mini, a folder, or a catalogue name, which means full size with random weights. Inputs are random latents,
random audio, and the prompt below. The velocity is at time 0.5, and the decoder gets 24 latents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundloom.bench.cases import require_weights, weights_folder
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.stable_audio.model import Model
from soundloom.text.tokenizer import Tokenizer

PROMPT, PADDING, DECODED = "kick drum loop, 120 BPM", 6.0, 24
Outputs = dict[str, NDArray[np.float32]]


def outputs(model: Model, seconds: float) -> Outputs:
    """Return velocity, decoded audio, and latents of a model for fixed random inputs."""
    random, config = np.random.default_rng(0), model.config
    hop = config.same.downsampling_ratio
    frames = 2 * round((seconds + PADDING) * config.sample_rate / hop / 2)
    x = random.standard_normal((1, config.dit.io_channels, frames), np.float32)
    sound = 0.1 * random.standard_normal((1, 2, DECODED * hop), np.float32)
    engine = model.engine
    local = engine.array(np.zeros((1, config.dit.local_add_cond_dim, 1), np.float32))
    files = model.checkpoint.text_encoder
    assert files is not None
    length = config.model.conditioning.prompt.max_length
    tokens = Tokenizer(files.tokenizer, files.config.pad_token_id)([PROMPT], length)
    text = engine.encode_text(tokens.ids, tokens.mask)
    context, duration = engine.embed(text, tokens.mask, np.array([seconds], np.float32))
    condition = engine.condition(context, duration, local, 1, (0.5,))
    return {
        "velocity": engine.numpy(engine.velocity(engine.array(x), 0.5, condition, None)),
        "decode": engine.decode(x[:, :, :DECODED], None),
        "encode": engine.encode(sound, None),
    }


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def decibels(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Return the power of the error relative to the signal."""
    return float(20 * np.log10(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small-music")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "int8"])
    args = parser.parse_args()
    local = args.model == "mini" or Path(args.model).is_dir()
    source = args.model if local else require_weights(args.model, weights_folder())
    exact = outputs(load_stable_audio(source, engine="torch", precision="fp32"), args.seconds)
    for precision in args.precisions:
        found = outputs(load_stable_audio(source, engine="torch", precision=precision), args.seconds)
        errors = "  ".join(f"{name} {decibels(found[name], exact[name]):.1f} dB" for name in ("decode", "encode"))
        alike = cosine(found["velocity"], exact["velocity"])
        print(f"{precision}: velocity's cosine {alike:.6f}  {errors}", flush=True)


if __name__ == "__main__":
    main()
