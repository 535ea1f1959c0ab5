"""Training losses of the autoencoder."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.training.config import MelConfig, SpectralConfig
from soundloom.training.objectives.spectral.filterbanks import k_weighting
from soundloom.training.objectives.spectral.losses import (
    SpectralLoss,
    softnorm_loss,
    tight_stft,
    tight_window,
    waveform_loss,
)
from soundloom.training.objectives.spectral.mel import MelLoss
from soundloom.training.objectives.spectral.phase import group_delay_difference, instantaneous_frequency_difference


def tone(hz: float) -> torch.Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(4096) / 44100).expand(1, 2, -1)


@pytest.mark.parametrize("overlap", [2, 4])
def test_squared_windows_sum_to_one(overlap):
    squares = tight_window(64, overlap).square().view(overlap, -1).sum(0)
    torch.testing.assert_close(squares, torch.ones(64 // overlap))


@pytest.mark.parametrize("overlap", [2, 4])
def test_stft_preserves_energy(overlap):
    x = torch.zeros(4096)
    x[1024:3072] = torch.randn(2048, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tight_stft(x, 256, overlap).abs().square().sum(), x.square().sum(), rtol=1e-4, atol=0)


def only(term: str, *windows: int) -> SpectralLoss:
    off = {"spectral_convergence": 0.0, "log_magnitude": 0.0}
    return SpectralLoss(SpectralConfig(windows=windows, **(off | {term: 1.0})))


TERMS = [
    "spectral_convergence",
    "log_magnitude",
    "linear_magnitude",
    "complex_error",
    "instantaneous_frequency",
    "group_delay",
]


@pytest.mark.parametrize("term", TERMS)
def test_each_spectral_term_is_zero_for_equal_sounds_and_grows_with_detune(term):
    loss = only(term, 512, 128)
    same, near, far = (float(loss(tone(hz), tone(1000))) for hz in (1000, 1040, 2000))
    assert same == pytest.approx(0, abs=1e-6)
    assert 0 < near < far


def test_magnitude_terms_ignore_phase_and_the_complex_error_does_not():
    assert only("spectral_convergence", 512)(-tone(1000), tone(1000)) < 1e-6
    assert only("complex_error", 512)(-tone(1000), tone(1000)) > 0.01


def test_phase_terms_match_their_formula():
    x, y = torch.randn(2, 1, 4, 3, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    total = weights = 0.0
    for c in range(4):
        for f in range(5):
            for m in range(2):
                u, v = x[0, c, m + 1, f] * x[0, c, m, f].conj(), y[0, c, m + 1, f] * y[0, c, m, f].conj()
                weight = float(u.abs() * v.abs()) ** 0.5
                total += weight * (1 - float(torch.cos(u.angle() - v.angle())))
                weights += weight
    assert float(instantaneous_frequency_difference(x, y)) == pytest.approx(total / weights, rel=1e-4)
    turned = x.transpose(-1, -2), y.transpose(-1, -2)
    assert float(group_delay_difference(*turned)) == pytest.approx(total / weights, rel=1e-4)


def test_phase_terms_ignore_a_constant_phase_but_not_a_moved_click():
    click = torch.zeros(1, 2, 2048)
    click[..., 1000] = 1
    for term in ("instantaneous_frequency", "group_delay"):
        assert only(term, 256)(-tone(1000), tone(1000)) < 1e-5
    assert only("group_delay", 256)(click.roll(20, -1), click) > 0.01


def test_k_weighting_changes_each_frequency_by_the_gain_of_its_filter():
    config = SpectralConfig((512,), spectral_convergence=0, log_magnitude=0, linear_magnitude=1)
    plain, weighted = SpectralLoss(config), SpectralLoss(replace(config, k_weighting=True))
    taps, silence = k_weighting(44100), torch.zeros(1, 2, 4096)
    for hz in (1000, 10_000):
        gain = abs(taps @ np.exp(2j * np.pi * hz / 44100 * np.arange(len(taps))))
        assert float(weighted(tone(hz), silence) / plain(tone(hz), silence)) == pytest.approx(gain, rel=0.02)


def test_mel_loss_is_in_decibels():
    loss = MelLoss(MelConfig(windows=(1024,), bands=16, floor_db=-120), 44100)
    noise = 0.1 * torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(0))
    assert float(loss(noise, noise)) == 0
    assert float(loss(0.5 * noise, noise)) == pytest.approx(20 * math.log10(2), rel=1e-3)


def test_mel_loss_ignores_cells_below_the_floor_in_both_sounds():
    loss = MelLoss(MelConfig(windows=(1024,), bands=16), 44100)
    noise = 0.1 * torch.randn(1, 2, 8192, generator=torch.Generator().manual_seed(0))
    with_silence = torch.cat([noise, torch.zeros(1, 2, 65536)], dim=-1)
    silence = 1e-6 * torch.ones_like(with_silence)
    assert float(loss(silence, silence * 2)) == 0
    assert float(loss(0.5 * with_silence, with_silence)) > 0.9 * float(loss(0.5 * noise, noise))


def test_mel_loss_can_ignore_added_sound_but_not_missing_sound():
    added, missing = (tone(1000) + tone(8000), tone(1000)), (tone(1000), tone(1000) + tone(8000))
    strict, lenient = (MelLoss(MelConfig(windows=(1024,), excess_weight=weight), 44100) for weight in (1.0, 0.0))
    assert float(lenient(*added)) < 0.3 * float(strict(*added))
    assert float(lenient(*missing)) == pytest.approx(float(strict(*missing)), rel=0.01)


def test_missing_side_channel_increases_the_loss():
    loss = SpectralLoss(SpectralConfig(windows=(512,), log_magnitude=0.0))
    left = tone(1000) * torch.tensor([1.0, 0.0])[:, None]
    mono = left.mean(1, keepdim=True).expand(1, 2, -1)
    assert loss(mono, left) > 0.2


def test_losses_of_silence_are_finite_and_have_gradients():
    decoded = torch.zeros(1, 2, 4096, requires_grad=True)
    real = torch.zeros(1, 2, 4096)
    config = SpectralConfig(
        (512,), linear_magnitude=1, complex_error=1, instantaneous_frequency=1, group_delay=1, k_weighting=True
    )
    mel = MelLoss(MelConfig(windows=(512,)), 44100)
    (SpectralLoss(config)(decoded, real) + mel(decoded, real) + waveform_loss(decoded, real)).backward()
    assert decoded.grad is not None
    assert decoded.grad.isfinite().all()


def test_softnorm_is_minimal_for_standard_normal_latents():
    standard = torch.randn(4, 64, 256, generator=torch.Generator().manual_seed(1))
    assert softnorm_loss(standard) < 0.1
    assert softnorm_loss(2 * standard) > 1
    assert softnorm_loss(standard + 1) > 0.9
