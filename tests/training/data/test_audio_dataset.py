"""Audio datasets: sampling, and how unusable files are reported."""

import numpy as np
import pytest
import soundfile

from soundloom.config.parse import parse
from soundloom.datasets.examples import Selection
from soundloom.datasets.folders import Folder
from soundloom.errors import ConfigError, TrainingError
from soundloom.training.config import DataConfig, TokenizerConfig
from soundloom.training.data.audio_dataset import AudioDataset
from soundloom.training.data.captions import CaptionList, train_tokenizer

RATE = 44100


@pytest.fixture
def folder(tmp_path):
    """Nine invalid sound files, and a valid one at position 7."""
    for number in range(10):
        (tmp_path / f"{number}.wav").write_bytes(b"RIFF no")
        (tmp_path / f"{number}.json").write_text(f'{{"prompt": "a sound", "bpm": {60 + 10 * number}}}')
    soundfile.write(tmp_path / "7.wav", np.full((1000, 2), 0.5), RATE)
    return tmp_path


def test_unreadable_files_are_skipped_with_one_warning(folder, caplog):
    dataset = AudioDataset(Folder(folder), Selection(), RATE)
    rng = np.random.default_rng(0)
    samples = [dataset.sample_crop(rng, 100) for _ in range(50)]
    assert {position for position, _ in samples} == {7}
    assert all(crop.shape == (2, 100) for _, crop in samples)
    assert len(caplog.messages) == len(set(caplog.messages)) <= 9


def test_sampling_does_not_depend_on_earlier_failures(folder):
    fresh, used = (AudioDataset(Folder(folder), Selection(), RATE) for _ in range(2))
    used.sample_crop(np.random.default_rng(1), 100)
    crops = [dataset.sample_crop(np.random.default_rng(2), 100)[1] for dataset in (fresh, used)]
    assert np.array_equal(*crops)


def test_metadata_filters_apply_before_reading(folder):
    dataset = AudioDataset(Folder(folder), Selection(where={"bpm": ("130", "140")}), RATE)
    assert [entry.origin for entry, _ in dataset.entries] == ["7.wav", "8.wav"]


def test_dataset_without_usable_sounds_raises(folder):
    dataset = AudioDataset(Folder(folder), Selection(exclude=("7.wav",)), RATE)
    with pytest.raises(TrainingError, match="none of 9 sounds can be used"):
        dataset.sample_crop(np.random.default_rng(0), 100)


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
def test_impossible_vocabulary_raises(captions):
    with pytest.raises(TrainingError, match="cannot train a vocabulary of 10 pieces on these captions"):
        train_tokenizer(CaptionList(captions), TokenizerConfig(vocabulary_size=10))
