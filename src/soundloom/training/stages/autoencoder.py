"""Train the SAME autoencoder, initialized as the linear codec of the principal components where it can represent it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from soundloom.config.stable_audio.same import SAMEConfig
from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.stable_audio.same import SAME, Resampler, to_patches
from soundloom.errors import ConfigError
from soundloom.memory import require_memory
from soundloom.training.config import AutoencoderConfig
from soundloom.training.data.augmentation import augment
from soundloom.training.data.captions import CaptionTokens
from soundloom.training.data.latents import encode_clips
from soundloom.training.data.protocols import SoundSource
from soundloom.training.init.linear_codec import fit_linear_codec, init_linear_codec, sample_crops, zero_branches
from soundloom.training.init.noise_bands import init_noise_bands
from soundloom.training.loop.logging import Preview
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import OptimizerPhase, Term, TrainingTask, sum_terms
from soundloom.training.objectives.auxiliary import AuxiliaryModules, Reconstruction
from soundloom.training.objectives.spectral.losses import SpectralLoss, softnorm_loss, waveform_loss
from soundloom.training.objectives.spectral.mel import MelLoss
from soundloom.training.objectives.text_features import FrozenTextEncoder, TextEmbedding, TextFeatures
from soundloom.training.stages.context import StableAudioContext
from soundloom.training.stages.previews import reconstruction
from soundloom.training.stages.run import run_stage

MIN_STD = 1e-4  # of the bottleneck
SCALE_CLIPS = 500  # clips on which the scale of latents is measured


def run(context: StableAudioContext, config: AutoencoderConfig) -> bool:
    """Train the autoencoder, then scale its latents to unit variance."""
    require_sizes(config, context.model.same)
    pretrained = context.pretrained

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        sounds = context.sounds(config.clips)
        same = pretrained.same() if pretrained else SAME(context.model.same)
        if fresh and not pretrained:
            _initialize(same, sounds, config)
        captions, text = _captions(context, sounds, config) if config.contrastive.weight else (None, None)
        task = AutoencoderTask(same.to(context.distributed.device), sounds, config, captions, text)
        return task, reconstruction(same, sounds, context.model.sample_rate)

    def finish(weights: dict[str, Tensor]) -> None:
        same = SAME(context.model.same)
        same.load_state_dict(weights)
        if not (pretrained and config.decoder_only):  # the pretrained transformer expects the original scale
            normalize_scale(same, context.scale_sounds(SCALE_CLIPS), SCALE_CLIPS)
        context.run_dir.save_weights("autoencoder", same.state_dict())

    return run_stage(context, "autoencoder", config, build, finish)


def require_sizes(config: AutoencoderConfig, same: SAMEConfig) -> None:
    """Raise ConfigError for crops shorter than a loss's window, EngineError where memory cannot hold them."""
    crop = config.frames * same.downsampling_ratio
    windows = [*config.spectral.windows, *(config.mel.windows if config.mel.weight else ())]
    windows += [each.size for each in config.adversarial.discriminators] if config.adversarial.weight else []
    windows += [config.semantic.window] if config.semantic.weight else []
    if crop < max(windows):
        raise ConfigError(
            f"crops of {config.frames} frames are {crop} samples, shorter than the longest window ({max(windows)})"
        )
    channels, float32, float64 = 2, 4, 8
    require_memory(round(config.pca_seconds * SAMPLE_RATE) * channels * float64, f"pca_seconds {config.pca_seconds:g}")
    what = f"a batch of {config.batch_size} crops of {crop} samples"
    require_memory(config.batch_size * crop * channels * float32, what)


def _initialize(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> None:
    if config.noise_bands:
        init_noise_bands(same, sounds, config)
    elif same.config.encoder.config.latent_shortcut:
        init_linear_codec(same, fit_linear_codec(same, sample_crops(same, sounds, config), config))
    else:
        for resampler in same.modules():
            if isinstance(resampler, Resampler):
                zero_branches(resampler)


def _captions(
    context: StableAudioContext, sounds: SoundSource, config: AutoencoderConfig
) -> tuple[CaptionTokens, TextFeatures]:
    """Return captions for the contrastive critic, and the module that embeds them."""
    captions = context.caption_tokens(sounds)
    if context.pretrained:
        return captions, FrozenTextEncoder(context.pretrained.text().to(context.distributed.device))
    return captions, TextEmbedding(context.text_config.vocab_size, config.contrastive.width)


class AutoencoderTask:
    """Reconstruct random crops with noise on the latents; minimize waveform, spectral and auxiliary losses.

    Once the discriminators have started, every second step is theirs. With `captions`, the critic reads them through
    `text`.
    """

    def __init__(
        self,
        same: SAME,
        sounds: SoundSource,
        config: AutoencoderConfig,
        captions: CaptionTokens | None = None,
        text: TextFeatures | None = None,
    ) -> None:
        self.module, self.sounds, self.config, self.captions = same, sounds, config, captions
        self.samples = config.frames * same.config.downsampling_ratio
        device = same.bottleneck.running_std.device
        self.spectral = SpectralLoss(config.spectral, SAMPLE_RATE).to(device)
        self.mel = MelLoss(config.mel, SAMPLE_RATE).to(device)
        self.auxiliary = AuxiliaryModules(config, same.config.latent_dim, SAMPLE_RATE, text).to(device)
        trained = same.decoder if config.decoder_only else same
        self.phases = [OptimizerPhase("autoencoder", (trained, *self.auxiliary.jointly_trained))]
        if self.auxiliary.discriminators:
            scale, betas = config.adversarial.lr_scale, config.adversarial.betas
            self.phases.append(OptimizerPhase("discriminators", (self.auxiliary.discriminators,), scale, betas))

    def phase(self, step: int) -> OptimizerPhase:
        """Return the phase of a step."""
        since = step - self.config.adversarial.start
        return self.phases[-1] if since >= 0 and since % 2 == 0 else self.phases[0]

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Reconstruct one batch of crops."""
        real, caption = self._sample(stream)
        discriminators = self.auxiliary.discriminators
        if discriminators and self.phase(step).name == "discriminators":
            with torch.no_grad():
                _, decoded = self._reconstruct(real, stream)
            return discriminators.discriminator_losses(decoded, real, stream)
        latents, decoded = self._reconstruct(real, stream)
        batch = Reconstruction(real, latents, decoded, caption)
        return sum_terms([*self._own_terms(batch), *self.auxiliary.terms(batch, step, stream)])

    def _sample(self, stream: RngStream) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Sample crops (b, 2, samples) and, if there are captions, one of each crop: ids and mask (b, s)."""
        rng, batch = stream.rng, self.config.batch_size
        clips, crops = zip(*(self.sounds.sample_crop(rng, self.samples) for _ in range(batch)), strict=True)
        caption = None
        if self.captions is not None:
            ids, mask = self.captions.sample(np.array(clips), rng)
            caption = stream.tensor(ids), stream.tensor(mask)
        sounds = augment(np.stack(crops), self.config.augmentation, rng, SAMPLE_RATE)
        return stream.tensor(sounds), caption

    def _reconstruct(self, real: Tensor, stream: RngStream) -> tuple[Tensor, Tensor]:
        """Return the latents of a batch, and the audio decoded from them with noise and dropout."""
        same, config = self.module, self.config
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.decoder_only):
            latents = encode_and_update_std(same, real, config.std_momentum)
        noisy = latents + stream.normal(*latents.shape) * config.latent_noise
        if config.augmentation.latent_dropout:
            noisy = noisy * (stream.uniform(*latents.shape) >= config.augmentation.latent_dropout)
        return latents, same.decode(noisy)[..., : self.samples]

    def _own_terms(self, batch: Reconstruction) -> Iterator[Term]:
        """Yield the losses that need no auxiliary module."""
        config, decoded, real = self.config, batch.decoded.float(), batch.real
        with torch.autocast(real.device.type, enabled=False):  # logarithms of small numbers need full precision
            spectral = self.spectral(decoded, real)
            mel = self.mel(decoded, real) if config.mel.weight else None
        yield "spectral", 1.0, spectral
        if mel is not None:
            yield "mel", config.mel.weight, mel
        if config.waveform:
            yield "waveform", config.waveform, waveform_loss(decoded, real)
        if config.softnorm:
            yield "softnorm", config.softnorm, softnorm_loss(batch.latents)


def encode_and_update_std(same: SAME, audio: Tensor, momentum: float) -> Tensor:
    """Encode, after moving the bottleneck's running standard deviation towards that of these latents.

    It does not move at momentum 0, or where no gradients are computed.
    """
    if not momentum or not torch.is_grad_enabled():
        return same.encode(audio)
    bottleneck = same.bottleneck
    raw = same.encoder(to_patches(audio, same.config.patch_size)).transpose(1, 2)
    with torch.no_grad():
        std = (raw * bottleneck.scaling_factor + bottleneck.bias).std()
        bottleneck.running_std.lerp_(std, momentum).clamp_(min=MIN_STD)
    return bottleneck.encode(raw)


@torch.no_grad()
def normalize_scale(same: SAME, sounds: SoundSource, clips: int) -> None:
    """Set the bottleneck so that the latents of the first clips have unit variance over all channels."""
    first = islice(encode_clips(same, sounds), clips)
    same.bottleneck.running_std.mul_(torch.cat([latents for latents, _ in first]).std())
