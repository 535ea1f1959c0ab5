import numpy as np
import pytest

from soundloom.errors import AudioError
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.frontend import faults, prepare
from soundloom.evaluation.recipes import RECIPES, Recipe, find_recipe
from soundloom.evaluation.windows import plan_windows

RATE = 8000


def info(**changes):
    return EmbedderInfo(**{"name": "test", "rate": RATE, "window": RATE, "dimensions": 4, "hash": "0"} | changes)


def recipe(**changes):
    return Recipe("test", "", "test", **changes)


def tone(seconds: float, rate: int = RATE, peak: float = 0.5) -> np.ndarray:
    return np.tile(peak * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate), (2, 1)).astype(np.float32)


def test_faults_are_found_before_the_level_is_changed():
    loud = tone(1, peak=1.5)
    assert faults(tone(1), RATE) == ()
    assert faults(np.clip(loud, -1, 1), RATE) == ("clipped",)
    assert faults(loud, RATE) == ("clipped",)
    assert faults(tone(1, peak=1e-5), RATE) == ("silent",)
    assert faults(np.where(np.arange(RATE) == 7, np.nan, tone(1)), RATE) == ("not finite",)
    assert faults(tone(0.04), RATE) == ("too short",)
    assert faults(np.zeros((2, 0), np.float32), RATE) == ("too short",)


def test_unusable_clips_have_no_windows():
    with pytest.raises(AudioError, match="the clip is silent, so it has no embedding"):
        prepare(np.zeros((1, RATE), np.float32), RATE, info(), recipe())


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.49, 1.5, 7.2])
def test_windows_cover_clips_of_all_rates_and_lengths(rate, seconds):
    found = prepare(tone(seconds, rate), rate, info(), recipe())
    rest = (seconds - 1) % 1
    assert len(found.windows) == (1 if seconds < 1 else int(seconds) + (rest >= 0.5))
    assert found.windows.shape[1] == RATE
    assert found.filled[0] == min(RATE, round(seconds * RATE))


def test_short_clips_are_repeated_or_padded_as_the_network_was_trained():
    sound = tone(0.3)
    padded = prepare(sound, RATE, info(), recipe(level="none")).windows[0]
    repeated = prepare(sound, RATE, info(padding="repeat"), recipe(level="none")).windows[0]
    np.testing.assert_array_equal(padded[2400:], 0)
    np.testing.assert_array_equal(repeated[2400:4800], repeated[:2400])
    np.testing.assert_array_equal(repeated[7200:], 0)  # a whole number of times


def test_levels_make_equal_what_differs_in_gain_alone():
    quiet, loud = tone(1, peak=0.01), tone(1, peak=0.9)
    for level in ("peak -1 dB", "-23 LUFS"):
        first, second = (prepare(sound, RATE, info(), recipe(level=level)).windows for sound in (quiet, loud))
        np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.abs(prepare(loud, RATE, info(), recipe()).windows).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert np.abs(prepare(loud, RATE, info(), recipe(level="none")).windows).max() == pytest.approx(0.9, abs=1e-3)


def test_a_clip_without_a_loudness_cannot_be_brought_to_one():
    with pytest.raises(AudioError, match="too quiet to have a loudness"):
        prepare(tone(1, peak=2e-4), RATE, info(), recipe(level="-23 LUFS"))


def test_stereo_embedders_get_both_channels():
    sound = tone(1) * np.array([[1], [0.5]], np.float32)
    assert prepare(sound, RATE, info(channels=2), recipe(level="none")).windows.shape == (1, 2, RATE)
    mono = prepare(sound, RATE, info(), recipe(level="none")).windows[0]
    np.testing.assert_allclose(mono, sound.mean(axis=0), atol=1e-6)


def test_windows_follow_the_rules_of_recipes():
    assert plan_windows(24, 10, 1, "every hop").filled[-9:] == (9, 8, 7, 6, 5, 4, 3, 2, 1)
    assert plan_windows(24, 10, 10, "whole only").starts == (0, 10)
    assert plan_windows(24, 10, 10, "last at the end").starts == (0, 10)
    assert plan_windows(25, 10, 10, "last at the end").starts == (0, 10, 15)
    assert plan_windows(4, 10, 10, "whole only").filled == (4,)
    assert plan_windows(0, 10, 10, "whole only").starts == ()


def test_hashes_of_recipes_cover_what_figures_depend_on():
    assert len({one.hash for one in RECIPES.values()}) == len(RECIPES)
    base = recipe()
    assert base.hash == Recipe("other", "words", "test").hash
    assert base.embedding_hash == recipe(score="cosine of mean").embedding_hash
    assert base.embedding_hash != recipe(level="none").embedding_hash
    assert find_recipe("fadtk", "log-mel").embedder == "log-mel"
