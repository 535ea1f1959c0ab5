"""The simpler world that small models learn: plain sounds, tuned to latents."""

import numpy as np
import pytest

from soundloom.datasets.synthetic import Labels, family_prompts
from soundloom.datasets.synthetic.tuning import tuned, tuned_pitch

FRAME = 4096


@pytest.mark.parametrize("hz", [41.2, 55.0, 110.0, 261.63, 440.0, 1000.0, 3951.1])
def test_tuning_is_never_far_off(hz):
    assert abs(1200 * np.log2(tuned_pitch(hz, 44100 / FRAME) / hz)) <= 20


@pytest.mark.parametrize("bpm", [70, 97, 120, 160, 180])
def test_beats_fall_on_quarters_of_latents(bpm):
    moved = tuned(Labels("single drum loop", "kick", bpm=bpm), FRAME).bpm
    places = 60 * 44100 / moved / (FRAME / 4)
    assert places == pytest.approx(round(places))
    assert moved == pytest.approx(bpm, rel=0.04)


def test_prompts_of_the_simpler_world_sound_as_models_were_taught():
    prompts = family_prompts(("tone", "drum loop"), 8, seconds=4.0, is_plain=True, tuned_to=FRAME)
    assert {(prompt.labels.brightness, prompt.labels.fade_in) for prompt in prompts} == {(0.5, 0.0)}
    assert all(prompt.heard == tuned(prompt.labels, FRAME) for prompt in prompts)
    assert any(prompt.heard.hz != prompt.labels.hz for prompt in prompts)


def test_prompts_of_the_whole_world_sound_as_they_say():
    assert all(prompt.heard == prompt.labels for prompt in family_prompts(("tone",), 4, seconds=4.0))
