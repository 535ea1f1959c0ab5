"""What a model in training sounds like now: short clips for the logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.samplers import Times, euler, pingpong
from soundloom.diffusion.schedules import schedule
from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.training.data.batches import EncodedClips, TrainingBatch, frames_per_second
from soundloom.training.data.protocols import Audio, SoundSource
from soundloom.training.init.generator import Generator
from soundloom.training.loop.rng import RngStream

Preview = Callable[[], Mapping[str, Audio]]

CLIPS, SECONDS = 2, 5.0  # how many are made, and their greatest length
STREAM = 2**32 - 2  # step number whose draws choose them, which no step of training has
FLOW_STEPS, FEW_STEPS = 25, 8


def reconstruction(same: SAME, sounds: SoundSource, rate: int) -> Preview:
    """The same crops of sounds, before and after the autoencoder."""
    ratio = same.config.downsampling_ratio
    rng = RngStream(0, STREAM).rng
    real = [sounds.sample_crop(rng, int(SECONDS * rate) // ratio * ratio)[1] for _ in range(CLIPS)]

    @torch.no_grad()
    def preview() -> dict[str, Audio]:
        device = next(same.parameters()).device
        clips: dict[str, Audio] = {}
        for number, clip in enumerate(real):
            made = same.decode(same.encode(torch.from_numpy(clip)[None].to(device)))[0]
            clips |= {f"{number} original": clip, f"{number} reconstruction": made.float().cpu().numpy()}
        return clips

    return preview


def samples(
    generator: Generator, same: Callable[[], SAME], clips: EncodedClips, model: ModelConfig, few: bool
) -> Preview:
    """What the same prompts and the same noise become, in `few` steps of ping-pong or in more of Euler's, unguided."""
    frames = min(model.sample_size // model.same.downsampling_ratio, int(SECONDS * frames_per_second(model)))
    stream = RngStream(0, STREAM)
    batch = _without_sound(clips.sample(CLIPS, stream), frames)
    noise = [stream.normal(*batch.data.shape) for _ in range(FEW_STEPS)]
    decoder: list[SAME] = []  # read when it is first needed

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
            decoder.append(same())
        audio = decoder[0].decode(latents.cpu())
        return {f"{number}": clip.numpy() for number, clip in enumerate(audio)}

    return preview


def _without_sound(batch: TrainingBatch, frames: int) -> TrainingBatch:
    """The prompts of a batch, with nothing given of the sound."""
    size, channels = batch.data.shape[:2]
    return TrainingBatch(
        ids=batch.ids,
        mask=batch.mask,
        seconds=batch.seconds,
        data=torch.zeros(size, channels, frames),
        inpaint_mask=torch.zeros(size, frames),
        valid=torch.ones(size, frames, dtype=torch.bool),
    )
