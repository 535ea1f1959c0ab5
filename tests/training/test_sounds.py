"""Which sounds are trained on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import is_held_out
from soundloom.errors import ConfigError
from soundloom.training.config import SoundsConfig
from soundloom.training.sounds import Sounds, admits, narrowed

NARROW = SoundsConfig(
    clips=40,
    families=("tone", "bell", "single drum loop", "rain"),
    scenes=False,
    reverb=False,
    seconds=(1.0, 3.0),
    takes=2,
    pitches=(110.0, 440.0),
    tempos=(90, 120),
    repeats=3,
)


@pytest.fixture(scope="module")
def narrow() -> Sounds:
    return Sounds(NARROW)


def test_an_unknown_family_is_refused():
    with pytest.raises(ConfigError, match="no such families of sounds: kazoo"):
        Sounds(SoundsConfig(clips=1, families=("kazoo",)))


def test_only_admitted_sounds_are_drawn():
    config = SoundsConfig(clips=20, families=("bell", "rain"), scenes=False, reverb=False, seconds=(1.0, 3.0))
    sounds = Sounds(config)
    labels = [sounds.labels(position) for position in range(len(sounds))]
    assert {label.family for label in labels} == {"bell", "rain"}
    assert all(label.layer is None and not label.reverb and label.seconds <= 3 for label in labels)


def test_a_narrowed_world_has_few_pitches_tempos_and_one_length(narrow):
    labels = [narrow.labels(position) for position in range(len(narrow))]
    assert {label.hz for label in labels} == {0.0, 110.0, 440.0}
    assert {label.bpm for label in labels} == {0, 90, 120}
    assert {label.seconds for label in labels} == {3.0}
    assert {label.pan for label in labels} == {0.0}


def test_narrowing_never_ends_at_what_is_held_out():
    """The nearest tempo of many loops is one that this kind of loop is never to be heard at."""
    config = replace(NARROW, clips=60, pitches=(110.0, 220.0, 330.0, 440.0, 550.0, 660.0), repeats=0)
    sounds = Sounds(config)
    drawn = (sounds.world.labels(number) for number in range(2000))
    assert any(is_held_out(narrowed(labels, config)) for labels in drawn if admits(config, labels))
    assert len(sounds) == 60
    assert not any(is_held_out(sounds.labels(position)) for position in range(len(sounds)))


def test_no_sound_of_a_narrowed_world_comes_too_often(narrow):
    counts = Counter(narrow.labels(position) for position in range(len(narrow)))
    assert max(counts.values()) == NARROW.repeats


def test_captions_name_the_narrowed_pitch(narrow):
    tones = [p for p in range(len(narrow)) if narrow.labels(p).family == "tone"]
    said = " ".join(text for position in tones for text in narrow.captions(position))
    assert "440 Hz" in said
    assert "A2" in said or "110 Hz" in said
    assert "500 Hz" not in said


def test_equal_labels_are_one_of_few_takes(narrow):
    rains = [p for p in range(len(narrow)) if narrow.labels(p).family == "rain"]
    by_label = {narrow.labels(position): set() for position in rains}
    for position in rains:
        by_label[narrow.labels(position)].add(narrow.clip(position).audio.tobytes())
    assert 1 <= max(map(len, by_label.values())) <= NARROW.takes


def test_a_kept_clip_is_the_rendered_one_in_sixteen_bits(narrow):
    np.testing.assert_allclose(narrow.audio(0), narrow.clip(0).audio, rtol=0, atol=0.6 / 32767)


def test_pitches_without_tempos_are_refused():
    with pytest.raises(ConfigError, match="pitches and tempos narrow the world together"):
        replace(NARROW, tempos=())
