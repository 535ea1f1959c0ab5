"""Ours against diffusers, network by network, on the same weights: python -m benchmarks.versus_diffusers CASE FOLDER.

Prints the figures as JSON: the text encoder (there, transformers'), the sampling steps of the transformer, given the
conditioning, the decoder, and the clip, which is all three. The prompt is short: a few tokens, then padding. The peer
encodes all of it; our pipeline encodes one token of it, which stands for the others in the transformer. The peer
computes in float32 with PyTorch's plain attention.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.diffusers_peer import peer_dit, peer_same, peer_text
from soundloom.bench.cases import Case, Figures
from soundloom.bench.versus import alternate
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.stable_audio import Component
from soundloom.engines.torch.stable_audio.engine import TorchEngine
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.pipeline.stable_audio.run import decode_latents

FRAMES_PER_SECOND, PADDING = 44100 / 4096, 6.0  # of the published models
PROMPT_TOKENS, CONTEXT = 10, 257  # tokens of a short prompt, and all: padding follows the prompt, the duration is last


@dataclass(frozen=True)
class Comparison:
    """One case; each method gives both sides the same input and returns their times."""

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
    """Compare in this process; see the head of this file."""
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


def main(arguments: list[str]) -> None:
    case, folder = arguments
    sys.stdout.write(json.dumps(versus_diffusers(Case(**json.loads(case)), Path(folder))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
