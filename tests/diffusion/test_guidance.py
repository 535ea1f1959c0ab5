import numpy as np
import pytest

from soundloom.config.stable_audio.request import Guidance
from soundloom.diffusion.guidance import guide, is_guided
from soundloom.errors import RequestError

RNG = np.random.default_rng(0)
X, COND, UNCOND = RNG.standard_normal((3, 2, 6, 9))
T = 0.4


def clean(v):
    return X - T * v


def test_without_projection_guidance_is_the_textbook_formula():
    wanted = UNCOND + 3 * (COND - UNCOND)
    np.testing.assert_allclose(guide(X, T, COND, UNCOND, Guidance(3, apg=0)), wanted, atol=1e-9)


def test_full_projection_is_orthogonal_to_the_clean_estimate():
    added = clean(guide(X, T, COND, UNCOND, Guidance(3, apg=1))) - clean(COND)
    inner = (added * clean(COND)).sum(axis=(1, 2))
    assert np.abs(inner).max() < 1e-6
    assert np.abs(added).max() > 0.1


def test_half_projection_is_the_mean_of_full_and_none():
    full, none, half = (guide(X, T, COND, UNCOND, Guidance(3, apg=a)) for a in (1, 0, 0.5))
    np.testing.assert_allclose(half, (full + none) / 2, atol=1e-9)


def test_the_norm_threshold_limits_the_guidance_of_each_item():
    added = clean(guide(X, T, COND, UNCOND, Guidance(2, apg=0, norm_threshold=0.5))) - clean(COND)
    np.testing.assert_allclose(np.sqrt((added**2).sum(axis=(1, 2))), 0.5, rtol=1e-6)


def test_full_rescale_restores_the_unguided_deviation():
    guided = guide(X, T, COND, UNCOND, Guidance(5, rescale=1))
    np.testing.assert_allclose(guided.std(axis=1, ddof=1), COND.std(axis=1, ddof=1), rtol=1e-6)


def test_padding_does_not_change_the_valid_frames():
    valid = np.ones((2, 1, 9))
    valid[:, :, 6:] = 0
    options = Guidance(3, apg=0.7, norm_threshold=1.0)
    masked = guide(X, T, COND, UNCOND, options, valid)[..., :6]
    cut = guide(X[..., :6], T, COND[..., :6], UNCOND[..., :6], options)
    np.testing.assert_allclose(masked, cut, atol=1e-9)


@pytest.mark.parametrize(("t", "scale", "wanted"), [(0.5, 3, True), (0.9, 3, False), (0.5, 1, False)])
def test_guidance_applies_inside_its_interval_and_not_at_scale_one(t, scale, wanted):
    assert is_guided(t, Guidance(scale, interval=(0.2, 0.8))) is wanted


@pytest.mark.parametrize("options", [{"apg": 2}, {"interval": (0.8, 0.2)}, {"scale": float("nan")}, {"rescale": -1}])
def test_invalid_guidance_is_rejected(options):
    with pytest.raises(RequestError):
        Guidance(**options)
