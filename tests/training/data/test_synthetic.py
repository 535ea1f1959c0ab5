"""Training clips of the synthetic dataset."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from soundloom.datasets.synthetic import Labels, is_held_out
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.datasets.synthetic.labels import tuned_pitch
from soundloom.errors import ConfigError
from soundloom.training.data.synthetic import SyntheticSounds

FRAME = 4096
PLAIN = SoundsConfig(
    clips=40,
    families=("tone", "bell", "single drum loop", "rain"),
    scenes=False,
    reverb=False,
    seconds=(1.0, 3.0),
    plain=True,
    latent_period=FRAME,
)


@pytest.fixture(scope="module")
def plain() -> SyntheticSounds:
    return SyntheticSounds(PLAIN)


def labels_of(sounds: SyntheticSounds) -> list[Labels]:
    return [sounds.labels(position) for position in range(len(sounds))]


def test_unknown_family_raises():
    with pytest.raises(ConfigError, match="unknown families of sounds: kazoo"):
        SyntheticSounds(SoundsConfig(clips=1, families=("kazoo",)))


def test_configuration_without_matching_clips_raises():
    with pytest.raises(ConfigError, match="no synthetic clip matches"):
        SyntheticSounds(SoundsConfig(clips=3, families=("tone",), seconds=(50.0, 51.0)))


def test_invalid_range_of_lengths_raises():
    with pytest.raises(ConfigError, match=r"a minimum and a maximum, found \[3.0, 1.0\]"):
        SoundsConfig(clips=1, seconds=(3.0, 1.0))


def test_only_admitted_clips_are_used():
    config = SoundsConfig(clips=20, families=("bell", "rain"), scenes=False, reverb=False, seconds=(1.0, 3.0))
    labels = labels_of(SyntheticSounds(config))
    assert {label.family for label in labels} == {"bell", "rain"}
    assert all(label.layer is None and not label.reverb and label.seconds <= 3 for label in labels)


def test_even_gives_equally_many_clips_of_each_family():
    config = SoundsConfig(clips=12, families=("drum loop", "noise", "siren"), balanced=True)
    labels = labels_of(SyntheticSounds(config))
    assert Counter(label.family for label in labels) == {"drum loop": 4, "noise": 4, "siren": 4}
    uneven = Counter(label.family for label in labels_of(SyntheticSounds(replace(config, balanced=False, clips=60))))
    assert uneven["drum loop"] > 2 * uneven["noise"]


def test_plain_sounds_differ_only_in_what_captions_state(plain):
    labels = labels_of(plain)
    assert {(label.brightness, label.level, label.swing, label.fade_in, label.fade_out) for label in labels} == {
        (0.5, -3.0, 0.0, 0.0, 0.0)
    }
    assert {label.material for label in labels if label.bpm} == {"electronic"}
    assert len({label.hz for label in labels}) > 10
    lengths = np.array([label.seconds for label in labels])
    assert lengths.min() < 1.3
    assert lengths.max() > 2.7


def test_held_out_labels_are_never_used(plain):
    assert not any(map(is_held_out, labels_of(plain)))


def test_tuned_tone_repeats_after_few_latents(plain):
    tones = [p for p in range(len(plain)) if plain.labels(p).family == "tone"]
    for position in tones:
        sound, hz = plain.audio(position)[0], tuned_pitch(plain.labels(position).hz, 44100 / FRAME)
        period = next(FRAME * count for count in (1, 2, 4, 8, 16) if round(hz * FRAME * count / 44100, 6) % 1 == 0)
        start = sound[FRAME:]
        assert len(start) > period
        np.testing.assert_allclose(start[period:][:2048], start[: len(start) - period][:2048], atol=2e-3)


def test_captions_state_the_tempo_before_tuning(plain):
    loops = [p for p in range(len(plain)) if plain.labels(p).bpm]
    captions = " ".join(text for position in loops for text in plain.captions(position))
    assert all(f"{plain.labels(position).bpm} " in captions for position in loops)


def test_crops_of_tuned_sounds_start_at_latent_boundaries(plain):
    crop = plain.sample_crop(np.random.default_rng(3), 2 * FRAME)[1]
    clips = [plain.audio(position) for position in range(len(plain))]
    assert any(
        np.array_equal(crop, audio[:, start : start + 2 * FRAME])
        for audio in clips
        for start in range(0, audio.shape[1] - 2 * FRAME, FRAME)
    )


def test_cached_clip_is_the_rendered_one_in_sixteen_bits(plain):
    np.testing.assert_allclose(plain.audio(0), plain.clip(0).audio, rtol=0, atol=0.6 / 32767)
