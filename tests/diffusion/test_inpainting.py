import numpy as np
import pytest

from soundloom.diffusion.inpainting import blend, keep_mask

RATIO = 4096


def generated_frames(rule, *regions):
    return np.flatnonzero(keep_mask(120, RATIO, regions, rule) == 0)


def test_the_rule_of_the_published_package_is_pinned():
    """10 s clip, region 2 to 7 s: frames 22 to 75."""
    frames = generated_frames("ceil", (2 * 44100, 7 * 44100))
    assert (frames[0], frames[-1], len(frames)) == (22, 75, 54)


def test_cover_generates_each_touched_frame():
    assert generated_frames("cover", (5000, 5001)).tolist() == [1]
    assert generated_frames("cover", (4095, 8193)).tolist() == [0, 1, 2]


def test_round_uses_the_nearest_borders():
    assert generated_frames("round", (4096 + 2000, 3 * 4096 + 2100)).tolist() == [1, 2, 3]


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 2, 1000)).astype(np.float32)


def test_the_source_is_preserved_bit_for_bit_outside_the_regions(clips):
    source, generated = clips
    source[:, 0] = -0.0
    out = blend(source, 0, generated, [(100, 300), (700, 701)], fade=16)
    outside = np.r_[0:100, 300:700, 701:1000]
    assert out[:, outside].tobytes() == source[:, outside].tobytes()


def test_the_crossfade_lies_inside_the_region(clips):
    source, generated = clips
    out = blend(source, 0, generated, [(100, 300)], fade=16)
    assert (out[:, 116:284] == generated[:, 116:284]).all()
    between = np.minimum(source, generated) - 1e-6, np.maximum(source, generated) + 1e-6
    edge = np.r_[100:116, 284:300]
    assert (out[:, edge] >= between[0][:, edge]).all()
    assert (out[:, edge] <= between[1][:, edge]).all()
    assert (out[:, edge] != generated[:, edge]).any()


def test_a_region_at_the_very_start_or_end_has_no_crossfade_there(clips):
    source, generated = clips
    out = blend(source, 0, generated, [(0, 200), (900, 1000)], fade=16)
    assert (out[:, :184] == generated[:, :184]).all()
    assert (out[:, 916:] == generated[:, 916:]).all()


def test_a_continuation_starts_without_a_step():
    generated = np.zeros((1, 2000), dtype=np.float32)
    source = np.full((1, 1000), 0.5, dtype=np.float32)
    after = blend(source, 0, generated, [(1000, 2000)], fade=100)
    before = blend(source, 1000, generated, [(0, 1000)], fade=100)
    assert np.abs(np.diff(after)).max() < 0.02
    assert np.abs(np.diff(before)).max() < 0.02
    assert (after[:, :1000] == source).all()
    assert (before[:, 1000:] == source).all()
    assert after[0, -1] == before[0, 0] == 0


@pytest.mark.parametrize("offset", [0, 1000])
def test_a_continuation_of_a_loud_clip_stays_within_full_scale(offset):
    """Otherwise writing a file would require turning down the preserved source too."""
    signs = np.random.default_rng(0).choice([-1, 1], (2, 1, 2000)).astype(np.float32)
    out = blend(signs[0, :, :1000], offset, signs[1], [(0, 1000) if offset else (1000, 2000)], fade=100)
    assert np.abs(out).max() <= 1
