"""Compare the time of a MusicGen step with transformers' own generate, in alternating runs.

    python benchmarks/musicgen_speed.py [--size small] [--precisions fp32 auto] [--frames 60] [--rounds 3]

Both use the same random weights, at the size of the published model; transformers runs with its defaults, in float32.
The first step is not timed; each step uses guidance (two rows). Requires transformers.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from soundloom.autoregressive.generation import TokenRequest, generate
from soundloom.autoregressive.sampling import exponential_noise
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.musicgen.layouts import LM_TRANSFORMERS, canonical_attention
from soundloom.config.musicgen.model import LMConfig, published_musicgen
from soundloom.config.musicgen.sampling import Sampling
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.musicgen.kv_cache import DecoderState
from soundloom.engines.torch.musicgen.lm import MusicGenLM
from soundloom.engines.torch.precision import Precision
from soundloom.engines.torch.prepack import prepack

TOKENS, TEXT_WIDTH = 12, 32  # of the prompt


def peer(config: LMConfig) -> Any:
    """Build transformers' model with random weights: a language model of this size, and minimal other parts."""
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "ffn_dim", "num_codebooks", "vocab_size")
    decoder = MusicgenDecoderConfig(
        **{name: getattr(config, name) for name in sizes},
        audio_channels=config.audio_channels,
        pad_token_id=config.special_token,
        bos_token_id=config.special_token,
    )
    text = T5Config(vocab_size=64, d_model=config.text_width, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    codec = EncodecConfig(
        sampling_rate=32000,
        target_bandwidths=[50 * math.log2(config.vocab_size) * 4 / 1000],
        num_filters=2,
        hidden_size=8,
        codebook_dim=8,
        codebook_size=config.vocab_size,
        upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False,
    )
    model = MusicgenForConditionalGeneration(MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder))
    model.generation_config.pad_token_id = config.special_token
    model.generation_config.decoder_start_token_id = config.special_token
    return model.eval()


def ours(model: Any, config: LMConfig, precision: str) -> MusicGenLM:
    """Build our language model with the weights of transformers."""
    stored = {
        name: from_array(name, value.numpy())
        for name, value in model.state_dict().items()
        if name.startswith(("decoder.", "enc_to_dec_proj."))
    }
    tensors = canonical_attention(LM_TRANSFORMERS.to_canonical(stored))
    chosen = Precision.choose(precision, "cpu", config.hidden_size)
    blocks = chosen.blocks or chosen.dtype
    lm = load_module(lambda: MusicGenLM(config), tensors, "benchmark", "cpu", chosen.dtype, blocks=blocks)
    lm.widen_norms()
    prepack(lm)
    return lm


def time_peer(model: Any, frames: int) -> float:
    """Return the median seconds of a step of transformers."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    times: list[float] = []

    class Clock(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            times.append(time.perf_counter())
            return torch.zeros(1, dtype=torch.bool)

    model.generate(
        input_ids=torch.arange(TOKENS)[None],
        max_new_tokens=frames,
        guidance_scale=3.0,
        do_sample=True,
        top_k=250,
        stopping_criteria=StoppingCriteriaList([Clock()]),
    )
    return median(np.diff(times))


def time_ours(model: MusicGenLM, config: LMConfig, text: np.ndarray, frames: int) -> float:
    """Return the median seconds of a step of soundloom."""
    with torch.inference_mode():
        read = model.condition(torch.from_numpy(text), torch.ones(text.shape[:2], dtype=torch.bool))
    request = TokenRequest(1, frames, Sampling(top_k=250), 3.0)
    decoding = DecoderState(model, read, frames + config.num_codebooks, guided=True)

    def noise(step: int) -> np.ndarray:
        return exponential_noise([0], step, config.num_codebooks, config.vocab_size)

    times = [time.perf_counter() for _ in generate(config, request, decoding, noise)]
    return median(np.diff(times))


def compare(size: str, precisions: list[str], frames: int, rounds: int) -> Iterator[str]:
    """Yield a line per round and precision, then the medians."""
    config = replace(published_musicgen(size).lm, text_width=TEXT_WIDTH)
    model = peer(config)
    text = np.random.default_rng(0).standard_normal((1, TOKENS, TEXT_WIDTH), dtype=np.float32)
    made = {precision: ours(model, config, precision) for precision in precisions}
    ratios: dict[str, list[float]] = {precision: [] for precision in precisions}
    for turn in range(rounds):
        for precision, lm in made.items():
            theirs, own = time_peer(model, frames), time_ours(lm, config, text, frames)
            ratios[precision].append(theirs / own)
            times = f"transformers {1e3 * theirs:6.1f} ms  ours {1e3 * own:6.1f} ms"
            yield f"round {turn} {precision:5} {times}  {theirs / own:.2f} x"
    for precision, found in ratios.items():
        yield f"{precision}: {median(found):.2f} times as fast, from {min(found):.2f} to {max(found):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="small")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "auto"])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for line in compare(args.size, args.precisions, args.frames, args.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
