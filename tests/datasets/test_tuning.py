"""The simplified dataset for small models: plain sounds, tuned to the latent rate."""

from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import Labels, family_prompts, render
from soundloom.datasets.synthetic.families import sample_source
from soundloom.datasets.synthetic.labels import tuned_pitch
from soundloom.datasets.synthetic.sounds.drums import STROKE
from soundloom.datasets.synthetic.tuning import plain, tuned

FRAME = 4096


@pytest.mark.parametrize("hz", [41.2, 55.0, 110.0, 261.63, 440.0, 1000.0, 3951.1])
def test_tuned_pitch_is_within_thirty_cents(hz):
    assert abs(1200 * np.log2(tuned_pitch(hz, 44100 / FRAME) / hz)) <= 30


@pytest.mark.parametrize("bpm", [70, 97, 120, 160, 180])
def test_tuned_beats_are_on_the_grid_and_near_their_tempo(bpm):
    moved = tuned(Labels("single drum loop", "kick", bpm=bpm), FRAME).bpm
    places = 60 * 44100 / moved / STROKE
    assert places == pytest.approx(round(places))
    assert moved == pytest.approx(bpm, rel=0.032)


def test_tuned_drums_start_on_the_grid():
    labels = replace(
        tuned(Labels("single drum loop", "closed hi-hat", bpm=97, material="electronic"), FRAME), seconds=3.0
    )
    sound = np.abs(render(labels, 3.0, np.random.default_rng(0))[0])
    quiet = np.convolve(sound, np.ones(256), "full")[: len(sound)]
    starts = np.flatnonzero((quiet[1:] > 0) & (quiet[:-1] == 0)) + 1
    assert len(starts) > 4
    assert all(start % STROKE <= 2 for start in starts)


def test_repeated_events_start_with_latents():
    places = 44100 / tuned(Labels("beeps", hz=440.0, rate=3.6), FRAME).rate / FRAME
    assert places == pytest.approx(round(places))
    assert tuned(Labels("tone", hz=440.0), FRAME).rate == 0


def test_latents_of_a_tuned_bell_differ_only_by_its_decay():
    def likeness(grid: float) -> float:
        labels = replace(tuned(Labels("bell", "bell", hz=880.0), FRAME), seconds=1.0, grid=grid)
        sound = render(labels, 1.0, np.random.default_rng(0))[0]
        return float(np.corrcoef(sound[FRAME : 2 * FRAME], sound[2 * FRAME : 3 * FRAME])[0, 1])

    assert likeness(44100 / FRAME) > 0.99
    assert likeness(0.0) < 0.9


def test_tuned_beeps_start_and_end_with_latents():
    labels = replace(tuned(Labels("beeps", hz=880.0, rate=3.6, count=2), FRAME), seconds=1.0)
    sound = render(labels, 1.0, np.random.default_rng(0))[0]
    frames = np.abs(sound[: 8 * FRAME].reshape(8, FRAME)).max(1) > 0
    starts = np.flatnonzero(frames[1:] & ~frames[:-1]) + 1
    assert not frames[0]
    assert all(np.abs(sound[start * FRAME :][:50]).max() > 0 for start in starts)
    assert len(starts) == 2


def test_latents_of_a_tuned_siren_repeat_with_its_cycle():
    labels = replace(tuned(plain(Labels("siren", "two-tone", rate=1.0)), FRAME), seconds=3.0)
    sound, cycle = render(labels, 3.0, np.random.default_rng(0))[0], round(44100 / labels.rate)
    assert cycle % FRAME == 0
    np.testing.assert_allclose(sound[2 * cycle : 3 * cycle], sound[3 * cycle : 4 * cycle], atol=1e-3)


def test_plain_sounds_vary_only_in_what_captions_state():
    rng = np.random.default_rng(1)
    beeps = {plain(sample_source("beeps", rng, 2.0)).rate for _ in range(20)}
    sirens = {plain(sample_source("siren", rng, 2.0)).variant for _ in range(20)}
    sides = {abs(plain(sample_source("rain", rng, 2.0)).pan) for _ in range(40)}
    assert (len(beeps), sirens, sides) == (1, {"yelping"}, {0.0, 0.75, 1.0})


def test_prompts_of_the_simplified_dataset_have_plain_and_tuned_references():
    prompts = family_prompts(("tone", "drum loop"), 8, seconds=4.0, is_plain=True, latent_period=FRAME)
    assert {(prompt.labels.brightness, prompt.labels.fade_in) for prompt in prompts} == {(0.5, 0.0)}
    assert all(prompt.reference_labels == tuned(prompt.labels, FRAME) for prompt in prompts)
    assert any(prompt.reference_labels.hz != prompt.labels.hz for prompt in prompts)


def test_reference_of_an_unrestricted_prompt_has_its_own_labels():
    assert all(prompt.reference_labels == prompt.labels for prompt in family_prompts(("tone",), 4, seconds=4.0))
