import numpy as np
import pytest

from soundloom.diffusion.masks import blend, keep_mask

RATIO = 4096


def renewed(rule, *regions):
    return np.flatnonzero(keep_mask(120, RATIO, regions, rule) == 0)


def test_the_rule_of_the_published_package_is_pinned():
    """10 s clip, region 2 to 7 s: frames 22 to 75."""
    frames = renewed("ceil", (2 * 44100, 7 * 44100))
    assert (frames[0], frames[-1], len(frames)) == (22, 75, 54)


def test_cover_generates_each_touched_frame():
    assert renewed("cover", (5000, 5001)).tolist() == [1]
    assert renewed("cover", (4095, 8193)).tolist() == [0, 1, 2]


def test_round_uses_the_nearest_borders():
    assert renewed("round", (4096 + 2000, 3 * 4096 + 2100)).tolist() == [1, 2, 3]


@pytest.fixture
def sounds():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 2, 1000)).astype(np.float32)


def test_the_source_is_preserved_bit_for_bit_outside_the_regions(sounds):
    source, made = sounds
    source[:, 0] = -0.0
    out = blend(source, 0, made, [(100, 300), (700, 701)], fade=16)
    kept = np.r_[0:100, 300:700, 701:1000]
    assert out[:, kept].tobytes() == source[:, kept].tobytes()


def test_the_crossfade_lies_inside_the_region(sounds):
    source, made = sounds
    out = blend(source, 0, made, [(100, 300)], fade=16)
    assert (out[:, 116:284] == made[:, 116:284]).all()
    between = np.minimum(source, made) - 1e-6, np.maximum(source, made) + 1e-6
    edge = np.r_[100:116, 284:300]
    assert (out[:, edge] >= between[0][:, edge]).all()
    assert (out[:, edge] <= between[1][:, edge]).all()
    assert (out[:, edge] != made[:, edge]).any()


def test_a_region_at_the_very_start_or_end_has_no_crossfade_there(sounds):
    source, made = sounds
    out = blend(source, 0, made, [(0, 200), (900, 1000)], fade=16)
    assert (out[:, :184] == made[:, :184]).all()
    assert (out[:, 916:] == made[:, 916:]).all()


def test_a_continuation_starts_without_a_step():
    made = np.zeros((1, 2000), dtype=np.float32)
    source = np.full((1, 1000), 0.5, dtype=np.float32)
    after = blend(source, 0, made, [(1000, 2000)], fade=100)
    before = blend(source, 1000, made, [(0, 1000)], fade=100)
    assert np.abs(np.diff(after)).max() < 0.02
    assert np.abs(np.diff(before)).max() < 0.02
    assert (after[:, :1000] == source).all()
    assert (before[:, 1000:] == source).all()
    assert after[0, -1] == before[0, 0] == 0


@pytest.mark.parametrize("offset", [0, 1000])
def test_a_continuation_of_a_loud_clip_stays_within_full_scale(offset):
    """A file could otherwise hold it only by turning down what is kept as well."""
    signs = np.random.default_rng(0).choice([-1, 1], (2, 1, 2000)).astype(np.float32)
    out = blend(signs[0, :, :1000], offset, signs[1], [(0, 1000) if offset else (1000, 2000)], fade=100)
    assert np.abs(out).max() <= 1
