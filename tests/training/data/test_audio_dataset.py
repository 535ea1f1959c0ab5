"""Recordings of other people: which are drawn, and what is said of those that cannot be used."""

import numpy as np
import pytest
import soundfile

from soundloom.config.parse import parse
from soundloom.datasets.examples import Selection
from soundloom.datasets.folders import Folder
from soundloom.errors import ConfigError, TrainingError
from soundloom.training.config import DataConfig, TokenizerConfig
from soundloom.training.data.captions import train_tokenizer
from soundloom.training.data.library import Recordings, Words

RATE = 44100


@pytest.fixture
def folder(tmp_path):
    """Nine files that are no sound, and one that is, at position 7."""
    for number in range(10):
        (tmp_path / f"{number}.wav").write_bytes(b"RIFF no")
        (tmp_path / f"{number}.json").write_text(f'{{"prompt": "a sound", "bpm": {60 + 10 * number}}}')
    soundfile.write(tmp_path / "7.wav", np.full((1000, 2), 0.5), RATE)
    return tmp_path


def test_what_cannot_be_read_is_said_once_and_passed_over(folder, caplog):
    recordings = Recordings(Folder(folder), Selection(), RATE)
    rng = np.random.default_rng(0)
    drawn = [recordings.sample(rng, 100) for _ in range(50)]
    assert {position for position, _ in drawn} == {7}
    assert all(piece.shape == (2, 100) for _, piece in drawn)
    assert len(caplog.messages) == len(set(caplog.messages)) <= 9


def test_what_is_drawn_does_not_depend_on_what_was_found_unusable_before(folder):
    fresh, used = (Recordings(Folder(folder), Selection(), RATE) for _ in range(2))
    used.sample(np.random.default_rng(1), 100)
    pieces = [recordings.sample(np.random.default_rng(2), 100)[1] for recordings in (fresh, used)]
    assert np.array_equal(*pieces)


def test_what_is_said_of_sounds_decides_before_they_are_read(folder):
    recordings = Recordings(Folder(folder), Selection(where={"bpm": ("130", "140")}), RATE)
    assert [entry.origin for entry, _ in recordings.entries] == ["7.wav", "8.wav"]


def test_nothing_that_can_be_used_is_an_error(folder):
    recordings = Recordings(Folder(folder), Selection(exclude=("7.wav",)), RATE)
    with pytest.raises(TrainingError, match="none of 9 sounds can be used"):
        recordings.sample(np.random.default_rng(0), 100)


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ({"genre": "techno"}, "selection.where.genre must be a list, found 'techno'"),
        ({"bpm": [120]}, r"selection.where.bpm\[0\] must be text, found 120"),
    ],
)
def test_values_of_a_selection_are_lists_of_text(where, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse(DataConfig, {"source": "folder", "path": "x", "selection": {"where": where}})


@pytest.mark.parametrize("captions", [[("",)], [("a rather long caption of many letters",)]])
def test_a_vocabulary_that_cannot_be_learnt_is_a_sentence(captions):
    with pytest.raises(TrainingError, match="no vocabulary of 10 pieces can be learnt from these captions"):
        train_tokenizer(Words(captions), TokenizerConfig(vocabulary_size=10))
