import numpy as np
import pytest

from soundloom.errors import CheckpointError
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.embedders.sanity import CAPTIONS, require_sane, separation, unlike_sounds

INFO = EmbedderInfo("made", 16000, 16000, 5, "", channels=1)
NAMES = list(unlike_sounds(16000, 16000))


class Made:
    """Each sound of the check, and its caption, has an axis of its own, plus what all have in common."""

    def __init__(self, shared=0.0, text_shared=0.0, shift=0, info=INFO):
        self.info, self.shared, self.text_shared, self.shift = info, shared, text_shared, shift

    def embed(self, windows):
        assert windows.shape == (5, *((2,) if self.info.channels == 2 else ()), 16000)
        return (np.eye(5) + self.shared).astype(np.float32)


class MadeWithText(Made):
    def embed_text(self, texts):
        assert list(texts) == list(CAPTIONS.values())
        axes = [(NAMES.index(name) + self.shift) % 5 for name in CAPTIONS]
        return (np.eye(5)[axes] + self.text_shared).astype(np.float32)


def test_an_embedder_that_tells_sounds_and_captions_apart_passes():
    found = require_sane(MadeWithText())
    assert found.cosine == found.text_cosine == 0
    assert found.preference == 1


def test_stereo_embedders_hear_the_sounds_on_both_channels():
    assert separation(Made(info=EmbedderInfo("made", 16000, 16000, 5, "", channels=2))).preference is None


@pytest.mark.parametrize(
    ("embedder", "fault"),
    [
        (Made(shared=3.0), r"tone and noise have the cosine 0\.98"),
        (Made(shared=np.nan), r"have the cosine nan"),
        (MadeWithText(text_shared=3.0), r"the captions of tone and noise have the cosine 0\.98"),
        (MadeWithText(shift=1), r"captions prefer foreign sounds to their own by 0\."),
    ],
)
def test_collapsed_or_exchanged_spaces_are_refused(embedder, fault):
    with pytest.raises(CheckpointError, match=fault):
        require_sane(embedder)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_sounds_are_finite_and_unlike(rate):
    sounds = np.stack(list(unlike_sounds(rate, rate * 3).values()))
    assert np.isfinite(sounds).all()
    assert np.abs(sounds).max() <= 0.5
    assert np.abs(np.corrcoef(sounds[[0, 1, 3, 4]]) - np.eye(4)).max() < 0.3
