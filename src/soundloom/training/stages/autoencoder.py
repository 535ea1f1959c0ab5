"""Training of a SAME autoencoder that starts as the linear codec of principal components."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from soundloom.config.stable_audio.same import SAMEConfig
from soundloom.datasets.synthetic import SAMPLE_RATE
from soundloom.engines.torch.stable_audio.same import SAME, to_patches
from soundloom.errors import ConfigError
from soundloom.memory import require_memory
from soundloom.training.config import AutoencoderConfig
from soundloom.training.data.augmentation import augment
from soundloom.training.data.captions import CaptionTokens
from soundloom.training.data.protocols import SoundSource
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import OptimizerPhase
from soundloom.training.objectives.auxiliary import AuxiliaryModules, Reconstruction
from soundloom.training.objectives.spectral.losses import SpectralLoss, Term, softnorm_loss, waveform_loss
from soundloom.training.objectives.spectral.mel import MelLoss
from soundloom.training.objectives.text_features import TextFeatures

SMALLEST_DEVIATION = 1e-4  # of latents, in the bottleneck


def require_sizes(config: AutoencoderConfig, same: SAMEConfig) -> None:
    """Raise ConfigError for crops shorter than what hears them, EngineError where memory cannot hold them."""
    crop = config.frames * same.downsampling_ratio
    heard = [*config.spectral.windows, *(config.mel.windows if config.mel.weight else ())]
    heard += [member.size for member in config.adversarial.discriminators] if config.adversarial.weight else []
    heard += [config.semantic.window] if config.semantic.weight else []
    if crop < max(heard):
        raise ConfigError(
            f"crops of {config.frames} frames are {crop} samples, shorter than the longest window ({max(heard)})"
        )
    channels, float32, float64 = 2, 4, 8
    require_memory(round(config.pca_seconds * SAMPLE_RATE) * channels * float64, f"pca_seconds {config.pca_seconds:g}")
    require_memory(
        config.batch_size * crop * channels * float32, f"a batch of {config.batch_size} crops of {crop} samples"
    )


class AutoencoderTask:
    """Random crops through encoder, noise and decoder, against waveform, spectra and what companions say.

    Steps of the discriminators alternate with those of all else once they have started. With `captions` the critic
    reads them through `text`.
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
            adversarial = config.adversarial
            game = OptimizerPhase(
                "discriminators", (self.auxiliary.discriminators,), adversarial.lr_scale, adversarial.betas
            )
            self.phases.append(game)

    def phase(self, step: int) -> OptimizerPhase:
        """Every second step is the discriminators', from their first on."""
        since = step - self.config.adversarial.start
        return self.phases[-1] if since >= 0 and since % 2 == 0 else self.phases[0]

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Reconstruct one batch of crops."""
        real, caption = self._crops(stream)
        discriminators = self.auxiliary.discriminators
        if discriminators and self.phase(step).name == "discriminators":
            with torch.no_grad():
                _, made = self._through(real, stream)
            return discriminators.discriminator_losses(made, real, stream)
        latents, made = self._through(real, stream)
        batch = Reconstruction(real, latents, made, caption)
        terms = [*self._own_terms(batch), *self.auxiliary.terms(batch, step, stream)]
        total = torch.stack([weight * value for _, weight, value in terms if weight]).sum()
        return {"loss": total} | {name: value for name, _, value in terms}

    def _crops(self, stream: RngStream) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Sounds (b, 2, samples) and, where there are captions, one of each crop's: ids and mask (b, s)."""
        rng, batch = stream.rng, self.config.batch_size
        clips, crops = zip(*(self.sounds.sample_crop(rng, self.samples) for _ in range(batch)), strict=True)
        caption = None
        if self.captions is not None:
            ids, mask = self.captions.sample(np.array(clips), rng)
            caption = stream.tensor(ids), stream.tensor(mask)
        sounds = augment(np.stack(crops), self.config.augmentation, rng, SAMPLE_RATE)
        return stream.tensor(sounds), caption

    def _through(self, real: Tensor, stream: RngStream) -> tuple[Tensor, Tensor]:
        """Latents of a batch, and what is decoded from them with noise and gaps."""
        same, config = self.module, self.config
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.decoder_only):
            latents = encode_and_follow(same, real, config.std_momentum)
        decoded = latents + stream.normal(*latents.shape) * config.latent_noise
        if config.augmentation.latent_dropout:
            decoded = decoded * (stream.uniform(*latents.shape) >= config.augmentation.latent_dropout)
        return latents, same.decode(decoded)[..., : self.samples]

    def _own_terms(self, batch: Reconstruction) -> Iterator[Term]:
        """Losses that need nobody but the autoencoder."""
        config, made, real = self.config, batch.decoded.float(), batch.real
        with torch.autocast(real.device.type, enabled=False):  # logarithms of small numbers need all their digits
            spectral = self.spectral(made, real)
            mel = self.mel(made, real) if config.mel.weight else None
        yield "spectral", 1.0, spectral
        if mel is not None:
            yield "mel", config.mel.weight, mel
        if config.waveform:
            yield "waveform", config.waveform, waveform_loss(made, real)
        if config.softnorm:
            yield "softnorm", config.softnorm, softnorm_loss(batch.latents)


def encode_and_follow(same: SAME, audio: Tensor, rate: float) -> Tensor:
    """Encode, after the bottleneck's deviation has moved by this share towards that of these latents.

    It stays where it is at rate 0, or where no gradients are computed.
    """
    if not rate or not torch.is_grad_enabled():
        return same.encode(audio)
    bottleneck = same.bottleneck
    raw = same.encoder(to_patches(audio, same.config.patch_size)).transpose(1, 2)
    with torch.no_grad():
        deviation = (raw * bottleneck.scaling_factor + bottleneck.bias).std()
        bottleneck.running_std.lerp_(deviation, rate).clamp_(min=SMALLEST_DEVIATION)
    return bottleneck.encode(raw)


@torch.no_grad()
def settle_scale(same: SAME, sounds: SoundSource, clips: int) -> None:
    """Set the bottleneck so that latents of the first clips have unit variance over all channels together."""
    first = islice(encoded(same, sounds), clips)
    same.bottleneck.running_std.mul_(torch.cat([latents for latents, _ in first]).std())


@torch.no_grad()
def encoded(same: SAME, sounds: SoundSource) -> Iterator[tuple[Tensor, float]]:
    """Latents (frames, c) and seconds of every clip in order, without the frames that only hold padding."""
    same.eval()
    for position in range(len(sounds)):
        clip = sounds.clip(position)
        samples = clip.audio.shape[1]
        frames = -(-samples // same.config.downsampling_ratio)
        yield same.encode(torch.from_numpy(clip.audio)[None])[0, :, :frames].T, samples / clip.sample_rate
