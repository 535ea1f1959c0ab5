"""Each loss does its work: on a fixed toy problem, leaving it out worsens what it is there for."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from soundloom.training.config import (
    AdversarialConfig,
    AlignmentConfig,
    DiscriminatorConfig,
    DiTTrainingConfig,
    LoopConfig,
    MelConfig,
    SemanticConfig,
    SpectralConfig,
)
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.alignment import DiffusionAlignment
from soundloom.training.objectives.gan.losses import DiscriminatorEnsemble
from soundloom.training.objectives.semantic import SemanticRegression, weighted_sum
from soundloom.training.objectives.spectral.losses import SpectralLoss, softnorm_loss, tight_stft, waveform_loss
from soundloom.training.objectives.spectral.mel import MelLoss
from soundloom.training.objectives.spectral.phase import group_delay_difference, instantaneous_frequency_difference

RATE = 44100


def sound() -> torch.Tensor:
    """Two tones, a click and quiet treble, louder and earlier on the left."""
    t = torch.arange(2048) / RATE
    tones = 0.3 * torch.sin(2 * math.pi * 440 * t) + 0.2 * torch.sin(2 * math.pi * 660 * t)
    noise = torch.fft.rfft(torch.randn(2048, generator=torch.Generator().manual_seed(0)))
    click = torch.zeros(2048)
    click[1024] = 0.5
    x = tones + click + 0.01 * torch.fft.irfft(noise * (torch.arange(1025) > 500))
    return torch.stack([x, 0.7 * x.roll(3)])[None]


REAL = sound()
MAGNITUDES = SpectralConfig(windows=(512, 128), spectral_convergence=1.0, log_magnitude=0.0)


def reached(loss) -> torch.Tensor:
    """Where a loss leads from the sound with all its phases scrambled."""
    spectrum = torch.fft.rfft(REAL)
    phases = 2 * math.pi * torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(1))
    x = torch.fft.irfft(spectrum.abs() * torch.exp(1j * phases), n=REAL.shape[-1]).requires_grad_()
    optimizer = torch.optim.Adam([x], 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        loss(x, REAL).backward()
        optimizer.step()
    return x.detach()


def spectra(x: torch.Tensor) -> torch.Tensor:
    return tight_stft(x, 256, 4)  # a window that no loss here sees


def waveform_error(x: torch.Tensor) -> float:
    return float((x - REAL).norm() / REAL.norm())


def treble_error(x: torch.Tensor) -> float:
    return float(MelLoss(MelConfig(windows=(256,), bands=32), RATE)(x, REAL))


ADDED = {
    "waveform": (waveform_loss, waveform_error, 0.6),
    "mel": (MelLoss(MelConfig(windows=(512, 128), bands=32), RATE), treble_error, 1.0),
    "log_magnitude": (
        SpectralLoss(SpectralConfig((512, 128), spectral_convergence=0, log_magnitude=1)),
        treble_error,
        0.8,
    ),
    "linear_magnitude": (
        SpectralLoss(SpectralConfig((512, 128), spectral_convergence=0, log_magnitude=0, linear_magnitude=10)),
        lambda x: float((spectra(x).abs() - spectra(REAL).abs()).abs().mean()),
        0.85,
    ),
    "complex_error": (
        SpectralLoss(SpectralConfig((512, 128), spectral_convergence=0, log_magnitude=0, complex_error=1)),
        waveform_error,
        0.97,
    ),
    "instantaneous_frequency": (
        SpectralLoss(SpectralConfig((512, 128), spectral_convergence=0, log_magnitude=0, instantaneous_frequency=1)),
        lambda x: float(instantaneous_frequency_difference(spectra(x), spectra(REAL))),
        0.4,
    ),
    "group_delay": (
        SpectralLoss(SpectralConfig((512, 128), spectral_convergence=0, log_magnitude=0, group_delay=1)),
        lambda x: float(group_delay_difference(spectra(x), spectra(REAL))),
        0.6,
    ),
}


@pytest.fixture(scope="module")
def by_magnitudes() -> torch.Tensor:
    return reached(SpectralLoss(MAGNITUDES))


@pytest.mark.parametrize("name", ADDED)
def test_a_term_beside_magnitudes_brings_its_own_error_down(name, by_magnitudes):
    added, error, share = ADDED[name]
    magnitudes = SpectralLoss(MAGNITUDES)
    weight = 0.1 if name == "mel" else 1.0
    with_it = reached(lambda x, y: magnitudes(x, y) + weight * added(x, y))
    assert error(with_it) < share * error(by_magnitudes)


class Hiss(nn.Module):
    """Restores the treble of noise from its bass and from noise of its own, through one filter each."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(2, 1, 9, padding=4, bias=False)

    def forward(self, low: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        made = self.filters(torch.cat([low[:, :1], own], dim=1))
        return made.expand(-1, 2, -1)


def treble_with(adversarial: float, features: float) -> float:
    """Level of the treble that is made, in dB relative to the real one's, when the waveform cannot be known."""
    torch.manual_seed(0)
    ensemble = DiscriminatorEnsemble(
        AdversarialConfig(1.0, discriminators=(DiscriminatorConfig("convolution", 32, filters=4),)), RATE
    )
    maker = Hiss()
    judge = torch.optim.Adam(ensemble.parameters(), 3e-3, betas=(0.5, 0.99))
    learner = torch.optim.Adam(maker.parameters(), 2e-2, betas=(0.5, 0.99))

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        stream = RngStream(0, step)
        real = stream.normal(4, 1, 1024).expand(-1, 2, -1)
        low = F.avg_pool1d(real, 5, stride=1, padding=2)
        return maker(low, stream.normal(4, 1, 1024)), real

    for step in range(80):
        made, real = batch(step)
        if step % 2 and (adversarial or features):
            judge.zero_grad()
            ensemble.discriminator_losses(made, real, RngStream(1, step))["loss"].backward()
            judge.step()
            continue
        loss = (made - real).square().mean()
        if adversarial or features:
            losses = ensemble.generator_losses(made, real, RngStream(1, step))
            loss = loss + adversarial * losses["adversarial"] + features * losses["features"]
        learner.zero_grad()
        loss.backward()
        learner.step()
    with torch.no_grad():
        made, real = batch(1000)
    levels = [torch.fft.rfft(x)[..., 256:].abs().square().mean() for x in (made, real)]
    return float(10 * torch.log10(levels[0] / levels[1]))


def test_without_an_adversary_the_treble_is_dull():
    dull = treble_with(adversarial=0.0, features=0.0)
    assert dull < -2
    assert treble_with(adversarial=2.0, features=0.0) > dull + 1
    assert treble_with(adversarial=0.0, features=5.0) > dull + 1


def levels_of(audio: torch.Tensor) -> torch.Tensor:
    """Coarse magnitudes (b, 16, n) of both channels: what the toy encoders below see and restore."""
    magnitude = torch.log10(tight_stft(audio, 512, 2).abs() + 1e-3)[..., 1:257]
    return magnitude.unflatten(-1, (8, 32)).mean(-1).transpose(1, 2).flatten(2).transpose(1, 2)


def noises(count: int) -> torch.Tensor:
    """Sounds whose bands vary much in level, and less so between left and right."""
    stream = RngStream(0, 0)
    shaped = torch.fft.rfft(stream.normal(count, 2, 4096))
    bands = (2 * stream.normal(count, 1, 4)).repeat_interleave(513, dim=-1)[..., : shaped.shape[-1]]
    balance = stream.normal(count, 1, 1) * torch.tensor([1.0, -1.0])[:, None]
    return 0.1 * torch.fft.irfft(shaped * torch.exp(bands + balance), n=4096)


def balance_error(semantic_weight: float) -> float:
    """What heads cannot read of the balance off latents of few dimensions, with or without their gradient."""
    torch.manual_seed(0)
    audio = noises(64)
    features = levels_of(audio)
    features = features - features.mean((0, 2), keepdim=True)
    encoder, decoder = nn.Conv1d(16, 3, 1), nn.Conv1d(3, 16, 1)
    regression = SemanticRegression(SemanticConfig(1.0, window=512), 3, RATE)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *regression.parameters()], 2e-2)
    for _ in range(100):
        latents = encoder(features)
        errors = regression(latents if semantic_weight else latents.detach(), audio)
        loss = (decoder(latents) - features).square().mean() + (semantic_weight or 1.0) * weighted_sum(errors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return errors["balance"].item()


def test_without_semantic_regression_latents_forget_the_balance():
    assert balance_error(20.0) < 0.6 * balance_error(0.0)


def denoiser_error(weight: float) -> float:
    """How much of the velocity a small denoiser cannot tell, of latents that may or may not feel it."""
    torch.manual_seed(0)
    times = DiTTrainingConfig(LoopConfig(1, 1e-3, 1e-3))
    alignment = DiffusionAlignment(AlignmentConfig(1.0, width=64, depth=1), times, 2)
    encoder, decoder = nn.Conv1d(6, 2, 1), nn.Conv1d(2, 6, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *alignment.parameters()], 3e-3)
    tail = []
    for step in range(120):
        stream = RngStream(0, step)
        steady = stream.normal(8, 3, 1).expand(-1, -1, 12)
        restless = stream.normal(8, 3, 12)
        x = torch.cat([steady, restless], dim=1)
        latents = encoder(x)
        losses = alignment(latents if weight else latents.detach(), stream)
        reconstruction = (decoder(latents) - x).square().mean()
        loss = reconstruction + 0.1 * softnorm_loss(latents) + (weight or 1.0) * losses["alignment"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tail.append((losses["alignment"] / losses["alignment_zero"]).item())
    return sum(tail[-20:]) / 20


def test_without_alignment_latents_are_harder_to_denoise():
    assert denoiser_error(1.0) < 0.85 * denoiser_error(0.0)


def test_without_softnorm_latents_have_any_size():
    sizes = []
    for weight in (0.0, 0.1):
        torch.manual_seed(0)
        x = torch.tensor([5.0, 0.2])[:, None] * RngStream(0, 0).normal(16, 2, 32) + 1
        encoder, decoder = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-2)
        for _ in range(150):
            latents = encoder(x)
            loss = (decoder(latents) - x).square().mean() + weight * softnorm_loss(latents)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sizes.append(float(softnorm_loss(latents.detach())))
    assert sizes[1] < 0.5 * sizes[0]
