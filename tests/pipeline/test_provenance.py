import logging

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.errors import OutputError


def recorded(tiny_model, **record):
    audio = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 44100)).astype(np.float32)
    return Clip(audio, 44100, {"mode": "generate", "model": tiny_model.name, "seed": 5, **record}, name="take.wav")


def test_an_edit_without_a_prompt_uses_the_recorded_prompt_and_logs_it(tiny_model, caplog):
    clip = recorded(tiny_model, request={"prompt": "rain", "steps": 2, "sampler": "euler", "seed": 5})
    with caplog.at_level(logging.WARNING):
        result = tiny_model.vary(clip, seed=1)
    assert "no prompt was given; using the prompt of the source: rain" in caplog.text
    request = result.record["request"]
    assert (request["prompt"], request["steps"], request["sampler"], request["seed"]) == ("rain", 2, "euler", 1)
    assert np.array_equal(result.audio, tiny_model.vary(clip, "rain", steps=2, sampler="euler", seed=1).audio)


def test_given_settings_win_and_settings_of_other_models_are_ignored(tiny_model):
    clip = recorded(tiny_model, request={"prompt": "rain", "steps": 2})
    assert tiny_model.extend(clip, 0.5, steps=3, seed=1).record["request"]["steps"] == 3
    other = recorded(tiny_model, model="another", request={"prompt": "rain", "steps": 2})
    assert tiny_model.extend(other, 0.5, seed=1).record["request"]["steps"] == 8


def test_an_empty_prompt_stays_empty(tiny_model):
    clip = recorded(tiny_model, request={"prompt": "rain"})
    result = tiny_model.inpaint(clip, [(0.2, 0.4)], "", seed=1)
    assert "prompt" not in result.record["request"]


@pytest.mark.parametrize("request_", [None, "rain", {"prompt": 5}, {"prompt": "x", "steps": "many"}, []])
def test_unreadable_records_give_an_empty_prompt(tiny_model, request_):
    result = tiny_model.vary(recorded(tiny_model, request=request_), seed=1)
    assert "prompt" not in result.record["request"]


def test_the_source_is_recorded(tiny_model):
    clip = recorded(tiny_model, request={"prompt": "rain"})
    result = tiny_model.vary(clip, "a bell", seed=1)
    assert result.record["source"] == {
        "name": "take.wav",
        "sha256": clip.sha256(),
        "prompt": "rain",
        "mode": "generate",
        "model": tiny_model.name,
        "seed": 5,
        "digital_source_type": "trainedAlgorithmicMedia",
    }


def test_the_hash_covers_rate_and_samples(tmp_path, tiny_model):
    clip = recorded(tiny_model)
    path = clip.save(tmp_path / "a.wav", subtype="FLOAT")
    assert Clip.load(path).sha256() == clip.sha256()
    assert Clip.load(path).name == "a.wav"
    assert Clip(clip.audio, 48000).sha256() != clip.sha256()
    assert Clip(clip.audio[:1], 44100).sha256() != clip.sha256()


def test_output_errors_are_raised_or_kept(tiny_model, monkeypatch):
    loud = lambda self, latents, noise_fn=None: np.full((1, 2, latents.shape[-1] * 4096), 30, np.float32)  # noqa: E731
    monkeypatch.setattr(type(tiny_model.engine), "decode", loud)
    with pytest.raises(OutputError, match=r"'rain', seed 1: the peak is 30 dB over full scale"):
        tiny_model.generate("rain", seconds=1, seed=1)
    with pytest.raises(OutputError, match="30 dB over full scale"):
        tiny_model.inpaint(recorded(tiny_model), [(0.2, 0.4)], "rain", seed=1)
    monkeypatch.setattr(tiny_model, "keep_bad", True)
    assert "30 dB over" in tiny_model.generate("rain", seconds=1, seed=1).record["warnings"][0]
