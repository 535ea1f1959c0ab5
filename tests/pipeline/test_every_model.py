"""Test every generator of the catalogue at tiny width, in every layout."""

import numpy as np
import pytest

from soundloom import load
from soundloom.testing.stable_audio import make_random


def generate(folder):
    return load(folder).generate("rain", seconds=0.5, seed=3, steps=2, guidance=2.0)


@pytest.mark.parametrize("name", ["small-sfx", "small-music-base", "medium", "medium-base"])
def test_every_generator_generates_and_edits(name, tmp_path):
    folder = make_random(name, tmp_path / name, size="tiny")
    clip = generate(folder)
    assert clip.audio.shape == (2, 22050)
    model = load(folder)
    edit = model.inpaint(clip, [(0.1, 0.2)], "a bell", seed=1, steps=2)
    assert (edit.audio[:, :4410] == clip.audio[:, :4410]).all()
    assert model.extend(clip, 0.5, seed=1, steps=2).samples == 44100


@pytest.mark.parametrize(("layout", "tolerance"), [("npz", 0.02), ("bf16-mirror", 0.1)])
@pytest.mark.parametrize("name", ["small-music", "medium"])
def test_layouts_contain_the_same_model(name, layout, tolerance, tmp_path):
    """The tolerance covers the half precision of the other layouts."""
    published, other = (
        generate(make_random(name, tmp_path / each, layout=each, size="tiny")).audio for each in ("published", layout)
    )
    assert np.abs(published - other).max() < tolerance * np.abs(published).max()
