"""Test arguments as callers write them: paths, and option names of other packages."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from soundloom import Clip, load
from soundloom.errors import AudioError, RequestError
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.stable_audio.model import Model


@pytest.fixture
def path(tmp_path):
    """Half a second of stereo noise at 48 kHz."""
    audio = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 24000)).astype(np.float32)
    return Clip(audio, 48000).save(tmp_path / "in.wav", subtype="FLOAT")


EDITS = {
    "vary": lambda model, sound: model.vary(sound, "rain", noise=0.5, seed=1, steps=1),
    "inpaint": lambda model, sound: model.inpaint(sound, [(0.1, 0.2)], "rain", seed=1, steps=1),
    "extend": lambda model, sound: model.extend(sound, 0.5, "rain", seed=1, steps=1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edits_accept_paths_and_clips(tiny_model, path, edit):
    of_clip = edit(tiny_model, Clip.load(path))
    for source in (path, str(path)):
        of_path = edit(tiny_model, source)
        assert of_path.audio.tobytes() == of_clip.audio.tobytes()
        assert of_path.source_format == of_clip.source_format


def test_encode_accepts_paths(tiny_model, path):
    np.testing.assert_array_equal(tiny_model.encode(str(path)), tiny_model.encode(Clip.load(path)))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_other_objects_than_clips_and_paths_are_rejected(tiny_model, tmp_path, edit):
    with pytest.raises(RequestError, match=r"found ndarray\nhint: create one: Clip\(array, sample_rate\)"):
        edit(tiny_model, np.zeros((2, 100)))
    with pytest.raises(RequestError, match="a Clip or the path of a file, found NoneType"):
        edit(tiny_model, None)
    with pytest.raises(AudioError, match=r"none\.wav cannot be opened"):
        edit(tiny_model, tmp_path / "none.wav")


@pytest.mark.parametrize("prompt", [3, 3.5, {"rain"}, object(), iter(["rain"])])
def test_prompts_must_be_text(tiny_model, prompt):
    name = type(prompt).__name__
    with pytest.raises(RequestError, match=f"a prompt must be text, or a list of texts, found {name}"):
        tiny_model.generate(prompt)
    with pytest.raises(RequestError, match="a prompt must be text, found NoneType"):
        tiny_model.generate([None])


@pytest.mark.parametrize(
    "edit", [Model.vary, partial(Model.inpaint, regions=[(0.1, 0.2)]), partial(Model.extend, seconds=1)]
)
@pytest.mark.parametrize("prompt", [3, ["rain"], ["rain", "hail"]])
def test_an_edit_has_a_single_prompt(tiny_model, path, edit, prompt):
    with pytest.raises(RequestError, match=f"a prompt must be text, found {type(prompt).__name__}"):
        edit(tiny_model, path, prompt=prompt)


def test_unknown_options_are_rejected_before_weights_are_read(tiny_model_folder, path):
    model = load(tiny_model_folder)
    calls = {
        "generate has no option 'cfg'\nhint: did you mean guidance": lambda: model.generate("rain", cfg=3),
        "generate has no option 'duration'\nhint: did you mean seconds": lambda: model.generate(["rain"], duration=3),
        "generate has no option 'source'": lambda: model.generate("rain", source=Clip.load(path)),
        "vary has no option 'strength'\nhint: did you mean noise": lambda: model.vary(path, strength=0.5),
        "inpaint has no option 'cfg_scale'": lambda: model.inpaint(path, [(0, 0.1)], cfg_scale=3),
        "extend has no option 'befor'\nhint: did you mean before": lambda: model.extend(path, 1, befor=True),
        "load has no option 'torch_dtype'\nhint: did you mean precision": lambda: load("mini", torch_dtype="fp16"),
    }
    for sentence, call in calls.items():
        with pytest.raises(RequestError, match=sentence):
            call()
    assert not model.engine._modules


def test_the_music_model_rejects_unknown_options():
    model = MusicModel.__new__(MusicModel)  # refused before anything of it is used
    with pytest.raises(RequestError, match="edit has no option 'cfg'\nhint: did you mean guidance"):
        model.edit("in.wav", "Only drums", cfg=3)
    with pytest.raises(RequestError, match="generate has no option 'duration'\nhint: did you mean seconds"):
        model.generate("piano", duration=3)


def test_any_path_like_object_is_accepted(tiny_model, path):
    class Named:
        def __fspath__(self):
            return str(path)

    assert tiny_model.encode(Named()).shape == tiny_model.encode(Path(path)).shape
