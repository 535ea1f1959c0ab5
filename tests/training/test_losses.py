"""Training losses of the autoencoder."""

import pytest
import torch

from soundloom.training.config import SpectralConfig
from soundloom.training.losses import SpectralLoss, softnorm_loss, tight_stft, tight_window, waveform_loss


def tone(hz: float) -> torch.Tensor:
    return 0.3 * torch.sin(2 * torch.pi * hz * torch.arange(4096) / 44100).expand(1, 2, -1)


@pytest.mark.parametrize("overlap", [2, 4])
def test_squared_windows_add_up_to_one(overlap):
    squares = tight_window(64, overlap).square().view(overlap, -1).sum(0)
    torch.testing.assert_close(squares, torch.ones(64 // overlap))


@pytest.mark.parametrize("overlap", [2, 4])
def test_spectra_keep_the_energy(overlap):
    x = torch.zeros(4096)
    x[1024:3072] = torch.randn(2048, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tight_stft(x, 256, overlap).abs().square().sum(), x.square().sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("term", ["convergence", "logarithm", "phase"])
def test_each_spectral_term_is_zero_for_equal_sounds_and_grows_with_detune(term):
    off = {"convergence": 0.0, "logarithm": 0.0, "phase": 0.0}
    loss = SpectralLoss(SpectralConfig(windows=(512, 128), **(off | {term: 1.0})))
    same, near, far = (float(loss(tone(hz), tone(1000))) for hz in (1000, 1040, 2000))
    assert same == pytest.approx(0, abs=1e-6)
    assert 0 < near < far


def test_magnitudes_do_not_hear_phase_but_the_phase_term_does():
    magnitudes = SpectralLoss(SpectralConfig(windows=(512,), logarithm=0.0))
    phases = SpectralLoss(SpectralConfig(windows=(512,), convergence=0.0, logarithm=0.0, phase=1.0))
    assert magnitudes(-tone(1000), tone(1000)) < 1e-6
    assert phases(-tone(1000), tone(1000)) > 0.01


def test_a_missing_side_channel_is_heard():
    loss = SpectralLoss(SpectralConfig(windows=(512,), logarithm=0.0))
    left = tone(1000) * torch.tensor([1.0, 0.0])[:, None]
    mono = left.mean(1, keepdim=True).expand(1, 2, -1)
    assert loss(mono, left) > 0.2


def test_losses_of_silence_are_finite_and_have_gradients():
    made = torch.zeros(1, 2, 4096, requires_grad=True)
    loss = SpectralLoss(SpectralConfig(windows=(512,), phase=1.0))(made, torch.zeros(1, 2, 4096))
    (loss + waveform_loss(made, torch.zeros(1, 2, 4096))).backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()


def test_softnorm_is_least_for_standard_latents():
    standard = torch.randn(4, 64, 256, generator=torch.Generator().manual_seed(1))
    assert softnorm_loss(standard) < 0.1
    assert softnorm_loss(2 * standard) > 1
    assert softnorm_loss(standard + 1) > 0.9
