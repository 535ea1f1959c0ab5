"""Random inpainting masks: 1 is preserved."""

import numpy as np
import pytest

from soundloom.training.data.inpaint_masks import KINDS, MAX_SEGMENTS, MIN_SHARE, sample_mask

VALID, FRAMES = 60, 80


def masks(kind: str, count: int = 200) -> list[np.ndarray]:
    rng = np.random.default_rng(KINDS.index(kind))
    chances = [float(name == kind) for name in KINDS]
    return [sample_mask(rng, chances, VALID, FRAMES) for _ in range(count)]


def gaps(mask: np.ndarray) -> int:
    return int((np.diff(np.concatenate([[1], mask[:VALID]])) == -1).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_never_preserved(kind):
    assert all(not mask[VALID:].any() and set(mask) <= {0.0, 1.0} for mask in masks(kind))


def test_full_masks_preserve_nothing():
    assert not np.any(masks("full"))


def test_causal_masks_preserve_a_start_of_any_length():
    kept = [mask[:VALID] for mask in masks("causal")]
    assert all((np.diff(mask) <= 0).all() for mask in kept)
    lengths = [mask.sum() for mask in kept]
    assert min(lengths) < 5
    assert max(lengths) > VALID - 5


def test_segment_masks_have_up_to_ten_gaps():
    counts = {gaps(mask) for mask in masks("segments")}
    assert min(counts) == 1
    assert 5 <= max(counts) <= MAX_SEGMENTS


def test_span_masks_have_at_most_four_gaps_and_cover_at_least_the_minimum_share():
    drawn = masks("spans")
    shares = [1 - mask[:VALID].mean() for mask in drawn]
    assert {gaps(mask) for mask in drawn} == {1, 2, 3, 4}
    assert min(shares) >= MIN_SHARE - 1 / VALID
    assert max(shares) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_masks_exist_for_clips_of_one_frame(kind):
    rng = np.random.default_rng(0)
    chances = [float(name == kind) for name in KINDS]
    assert sample_mask(rng, chances, 1, 1).shape == (1,)


def test_kinds_of_masks_have_their_probabilities():
    rng = np.random.default_rng(5)
    drawn = [sample_mask(rng, (0.0, 0.75, 0.25, 0.0), VALID, FRAMES).any() for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.06)
