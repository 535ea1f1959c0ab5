"""Generate short clips with a model in training, for the logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.samplers import Times, euler, pingpong
from soundloom.diffusion.schedules import schedule
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.training.data.batches import EncodedClips, TrainingBatch, frames_per_second
from soundloom.training.data.protocols import Audio, SoundSource
from soundloom.training.init.generator import Generator
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.rng import RngStream

CLIPS, MAX_SECONDS = 2, 5.0
PREVIEW_STEP = 2**32 - 2  # step of the RNG stream, which no training step uses
FLOW_STEPS, FEW_STEPS = 25, 8


def reconstruction(same: SAME, sounds: SoundSource, sample_rate: int) -> Preview:
    """Return a preview of fixed crops before and after the autoencoder."""
    ratio = same.config.downsampling_ratio
    rng = RngStream(0, PREVIEW_STEP).rng
    real = [sounds.sample_crop(rng, int(MAX_SECONDS * sample_rate) // ratio * ratio)[1] for _ in range(CLIPS)]

    @torch.no_grad()
    def preview() -> dict[str, Audio]:
        device = next(same.parameters()).device
        clips: dict[str, Audio] = {}
        for number, clip in enumerate(real):
            decoded = same.decode(same.encode(torch.from_numpy(clip)[None].to(device)))[0]
            clips |= {f"{number} original": clip, f"{number} reconstruction": decoded.float().cpu().numpy()}
        return clips

    return preview


def samples(
    generator: Generator, autoencoder: Callable[[], SAME], clips: EncodedClips, model: ModelConfig, few: bool
) -> Preview:
    """Return a preview of fixed prompts and noise, sampled without guidance: by ping-pong if `few`, else by Euler."""
    frames = min(model.sample_size // model.same.downsampling_ratio, int(MAX_SECONDS * frames_per_second(model)))
    stream = RngStream(0, PREVIEW_STEP)
    batch = _prompts(clips.sample(CLIPS, stream), frames)
    noise = [stream.normal(*batch.data.shape) for _ in range(FEW_STEPS)]
    decoder: list[SAME] = []  # loaded by the first preview

    @torch.no_grad()
    def preview() -> dict[str, Audio]:
        device = next(generator.parameters()).device
        here = batch.map(lambda value: value.to(device))
        embedded = generator.embed(here.ids, here.mask, here.seconds)

        def velocity(x: Tensor, t: float) -> Tensor:
            return generator(here, x, torch.full((CLIPS,), t, device=device), embedded)

        times = Times(schedule(FEW_STEPS if few else FLOW_STEPS, shift=model.model.diffusion.sampling_shift))
        sampler = pingpong if few else euler
        *_, latents = sampler(velocity, noise[0].to(device), times, lambda step: noise[step % FEW_STEPS].to(device))
        if not decoder:
            decoder.append(autoencoder())
        audio = decoder[0].decode(latents.cpu())
        return {f"{number}": clip.numpy() for number, clip in enumerate(audio)}

    return preview


def _prompts(batch: TrainingBatch, frames: int) -> TrainingBatch:
    """Return the prompts of a batch without its sounds."""
    size, channels = batch.data.shape[:2]
    silence, valid = torch.zeros(size, channels, frames), torch.ones(size, frames, dtype=torch.bool)
    return replace(batch, data=silence, inpaint_mask=torch.zeros(size, frames), valid=valid)
