from __future__ import annotations

import numpy as np
import pytest
import soundfile

from soundloom.errors import RequestError
from soundloom.evaluation.edits.sources import read_sources, rendered_music
from soundloom.evaluation.sets.manifest import read_set


def write(folder, name, audio, rate=8000):
    soundfile.write(folder / name, audio.T, rate, "FLOAT")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    write(tmp_path, "long ü.wav", 0.1 * rng.normal(size=(6, 80000)))
    write(tmp_path, "mono.wav", 0.1 * rng.normal(size=(1, 24000)))
    write(tmp_path, "silent.wav", np.zeros((2, 24000)))
    write(tmp_path, "short.wav", 0.1 * rng.normal(size=(1, 2400)))
    (tmp_path / "damaged.wav").write_bytes(b"RIFF")
    return tmp_path


def test_sounds_are_cut_and_unusable_ones_are_named(folder):
    found = read_sources(read_set(folder), 10, 2.0)
    assert {sound.id: sound.audio.shape for sound in found.sounds} == {
        "long ü.wav": (2, 16000),
        "mono.wav": (1, 16000),
    }
    assert found.failures["silent.wav"] == ("silent",)
    assert found.failures["short.wav"] == ("too short",)
    (damaged,) = found.failures["damaged.wav"]
    assert "hint:" not in damaged


def test_the_choice_depends_on_ids_alone(folder):
    sounds = read_set(folder)
    chosen = read_sources(sounds, 4, 2.0)
    again = read_sources(type(sounds)(sounds.name, sounds.items[::-1]), 4, 2.0)
    assert [one.id for one in chosen.sounds] == [one.id for one in again.sounds]
    assert chosen.hash == again.hash
    assert chosen.hash != read_sources(sounds, 4, 1.5).hash


def test_a_set_without_usable_sounds_is_refused(tmp_path):
    write(tmp_path, "silent.wav", np.zeros((2, 24000)))
    with pytest.raises(RequestError, match=r"none of the 1 sounds can be edited; silent\.wav: silent"):
        read_sources(read_set(tmp_path), 5, 2.0)


def test_rendered_music_is_the_sum_of_its_stems():
    first, second = rendered_music(2, 1.0).sounds
    assert first.audio == pytest.approx(sum(first.stems.values()), abs=1e-6)
    assert np.abs(first.audio).max() <= 1
    assert not np.array_equal(first.audio, second.audio)
