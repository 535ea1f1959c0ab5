"""Compare speed with diffusers, network by network, in alternating runs on the same random weights, on the CPU:

    python -m benchmarks.versus_diffusers [--models small-music medium] [--seconds 5,30] [--precisions auto bf16]

Measures the text encoder (theirs is from transformers), the sampling steps of the transformer, the decoder, and the
clip, which is their sum. The prompt has a few tokens and is padded. diffusers encodes all padding tokens; soundloom
encodes one, which stands for the others in the transformer. diffusers computes in float32 with PyTorch's attention.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.diffusers_peer import peer_dit, peer_same, peer_text
from soundloom.atomic import write_json
from soundloom.bench.cases import Case, Figures, machine, make_cases, require_weights, weights_folder
from soundloom.bench.report import ratio_line
from soundloom.bench.versus import alternate
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.stable_audio import Component
from soundloom.engines.torch.stable_audio.engine import TorchEngine
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.pipeline.stable_audio.chunks import decode_latents

FRAMES_PER_SECOND, PADDING = 44100 / 4096, 6.0  # of the published models
PROMPT_TOKENS, CONTEXT = 10, 257  # tokens of a short prompt, and all: padding follows the prompt, the duration is last


@dataclass(frozen=True)
class Comparison:
    """Compare the networks of one case; each method gives both libraries the same input."""

    case: Case
    checkpoint: Checkpoint
    engine: TorchEngine

    @property
    def config(self) -> ModelConfig:
        assert isinstance(self.checkpoint.config, ModelConfig)
        return self.checkpoint.config

    @cached_property
    def latents(self) -> torch.Tensor:
        frames = 2 * round((self.case.seconds + PADDING) * FRAMES_PER_SECOND / 2)
        return _random(1, self.config.dit.io_channels, frames)

    def text(self) -> Figures:
        exact = TorchEngine(self.checkpoint, "cpu", "fp32").module("text")
        assert isinstance(exact, T5GemmaEncoder)
        peer, seed = peer_text(exact), torch.Generator().manual_seed(0)
        ids = torch.randint(3, exact.config.vocab_size, (1, CONTEXT - 1), generator=seed)
        mask = torch.arange(CONTEXT - 1)[None] < PROMPT_TOKENS
        short = [tensor[:, : PROMPT_TOKENS + 1].numpy() for tensor in (ids, mask)]

        @torch.inference_mode()
        def theirs() -> None:
            peer(input_ids=ids, attention_mask=mask.long())

        return alternate(lambda: self.engine.encode_text(*short), theirs, self.case.runs)

    def transformer(self) -> Figures:
        dit, engine = self.config.dit, self.engine
        context, duration = _random(1, CONTEXT, dit.cond_token_dim), _random(1, dit.global_cond_dim)
        context[:, PROMPT_TOKENS:-1] = context[:, PROMPT_TOKENS : PROMPT_TOKENS + 1]
        short = torch.cat([context[:, : PROMPT_TOKENS + 1], context[:, -1:]], dim=1)
        local = torch.zeros(1, dit.local_add_cond_dim, 1)
        times = [1 - step / self.case.steps for step in range(self.case.steps)]
        peer = peer_dit(self.checkpoint)

        def ours() -> None:
            condition = engine.condition(short, duration, local, CONTEXT - PROMPT_TOKENS - 1, times)
            for t in times:
                engine.velocity(self.latents, t, condition, None)

        @torch.inference_mode()
        def theirs() -> None:
            for t in times:
                peer(self.latents, torch.tensor([t]), context, duration)

        return alternate(ours, theirs, self.case.runs)

    def decoder(self) -> Figures:
        peer, latents = peer_same(self.checkpoint), self.latents.numpy()

        @torch.inference_mode()
        def theirs() -> None:
            peer.decode(self.latents)

        return alternate(lambda: decode_latents(self.engine, self.config, latents), theirs, self.case.runs)


def versus_diffusers(case: Case, folder: Path) -> Figures:
    """Return the times of each network, and of the clip."""
    checkpoint = open_checkpoint(folder)
    engine = TorchEngine(checkpoint, "cpu", case.precision)
    comparison = Comparison(case, checkpoint, engine)
    stages: tuple[tuple[str, Component, Callable[[], Figures]], ...] = (
        ("text", "text", comparison.text),
        ("transformer", "dit", comparison.transformer),
        ("decoder", "decoder", comparison.decoder),
    )
    figures: Figures = {}
    for name, component, compare in stages:
        engine.load(component)
        figures[name] = compare()
        engine.free(component)
    clip = {whose: sum(part[whose] for part in figures.values()) for whose in ("ours", "theirs")}
    clip["times_as_fast"] = clip["theirs"] / clip["ours"]
    return {"precision": engine.precision, **figures, "clip": clip}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["small-music"], metavar="NAME", help="default: small-music")
    parser.add_argument("--seconds", default="5,30", metavar="S", help="lengths of the clips (default: 5,30)")
    parser.add_argument("--precisions", nargs="+", default=["auto"], metavar="NAME", help="default: auto")
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="sampling steps (default: 8)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each library (default: 3)")
    parser.add_argument("--weights", type=Path, default=weights_folder(), metavar="FOLDER", help="random weights")
    parser.add_argument("--save", type=Path, metavar="FILE", help="also write the times to a JSON file")
    options = parser.parse_args(arguments)
    seconds = [float(text) for text in options.seconds.split(",")]
    results = []
    for case in make_cases(options.models, seconds, options.precisions, options.steps, options.runs):
        # A fresh process for each case, so that one case leaves no memory to the next.
        folder = require_weights(case.model, options.weights)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            figures = process.submit(versus_diffusers, case, folder).result()
        for name, part in figures.items():
            if isinstance(part, dict):
                sys.stdout.write(ratio_line(f"{case.key}, {name}", part) + "\n")
        results.append({"case": case.key, **figures})
    if options.save:
        write_json(options.save, {"machine": machine(), "results": results})


if __name__ == "__main__":
    main()
