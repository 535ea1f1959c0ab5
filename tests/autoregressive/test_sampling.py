"""Token sampling: filters and probabilities."""

import numpy as np
import pytest

from soundloom.autoregressive.sampling import exponential_noise, filtered, guide_logits, sample
from soundloom.config.musicgen.sampling import GREEDY, Sampling
from soundloom.errors import RequestError

LOGITS = np.log(np.array([[[0.1, 0.4, 0.2, 0.3]]], np.float32))


def candidates(**options: float) -> list[int]:
    return np.flatnonzero(filtered(LOGITS, Sampling(**options))[0, 0]).tolist()


def test_top_k_keeps_the_likeliest_tokens_and_ties() -> None:
    assert candidates(top_k=2) == [1, 3]
    assert candidates(top_k=0) == candidates(top_k=99) == [0, 1, 2, 3]
    tied = np.array([[[1.0, 2.0, 1.0, 0.0]]], np.float32)
    assert np.flatnonzero(filtered(tied, Sampling(top_k=2))[0, 0]).tolist() == [0, 1, 2]


def test_top_p_keeps_tokens_until_their_mass_exceeds_it() -> None:
    tokens = {sample_token(step, Sampling(top_p=0.65)) for step in range(200)}
    assert tokens == {1, 3}  # 0.4, then 0.3; the next has 0.7 before it


def sample_token(step: int, sampling: Sampling) -> int:
    return int(sample(LOGITS, exponential_noise([7], step, 1, 4), sampling)[0, 0])


def test_samples_follow_the_probabilities() -> None:
    counts = np.bincount([sample_token(step, Sampling()) for step in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.4, 0.2, 0.3], atol=0.025)


def test_temperature_zero_is_argmax_without_noise() -> None:
    assert sample(LOGITS, None, GREEDY).tolist() == [[1]]


def test_noise_depends_only_on_seed_and_step() -> None:
    both = exponential_noise([3, 9], 5, 4, 16)
    assert (both[1] == exponential_noise([9], 5, 4, 16)[0]).all()
    assert (both[0] != exponential_noise([3], 6, 4, 16)[0]).all()
    assert both.dtype == np.float32
    assert (both > 0).all()


def test_guidance_of_one_gives_the_conditional_logits() -> None:
    np.testing.assert_array_equal(guide_logits(LOGITS, LOGITS * 0, 1.0), LOGITS)
    np.testing.assert_allclose(guide_logits(LOGITS, LOGITS - 1, 3.0), LOGITS + 2, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 1.5}])
def test_invalid_options_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        Sampling(**wrong)


def test_noise_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def standard_exponential(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
            return np.zeros(shape, dtype)

    monkeypatch.setattr("soundloom.autoregressive.sampling._generator", lambda seed, step: Zeros())
    noise = exponential_noise([7], 0, 1, 4)
    assert (noise > 0).all()
    assert sample(LOGITS, noise, Sampling(1.0, 1, 0.0))[0, 0] == LOGITS[0, 0].argmax()
