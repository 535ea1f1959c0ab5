import json

import numpy as np
import pytest

from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest, Guidance
from soundloom.errors import RequestError
from soundloom.pipeline.requests import spread_seed


def test_numpy_numbers_become_python_numbers():
    guidance = Guidance(np.float32(3), apg=np.float64(0.5), interval=(np.float32(0), np.float32(0.5)))
    request = GenerationRequest(
        "rain", seconds=np.float32(1.5), seed=np.int64(7), steps=np.int64(8), guidance=guidance, noise=np.array(1.0)
    )
    kept = {"scale": 3.0, "apg": 0.5, "interval": [0.0, 0.5]}
    again = json.loads(json.dumps(request.to_record()))
    assert again == {"prompt": "rain", "seconds": 1.5, "seed": 7, "steps": 8, "guidance": kept}
    music = MusicRequest(
        "a piano", seconds=np.float32(1.5), seed=np.uint8(7), top_k=np.int64(9), guidance=np.float32(2)
    )
    assert json.loads(json.dumps(music.to_record()))["top_k"] == 9
    assert spread_seed(np.int64(7), 2) == [7, 8]


@pytest.mark.parametrize("prompt", ["(loud:1.5) piano", "(at 10:30)", "((a:2):3)"])
def test_musicgen_has_no_prompt_weights(prompt):
    with pytest.raises(RequestError, match=r"MusicGen has no prompt weights .* found .*\nhint: .*write \\\( "):
        MusicRequest(prompt)


def test_musicgen_takes_parentheses_and_escapes():
    assert MusicRequest("a piano (solo)").text == "a piano (solo)"
    assert MusicRequest(r"\(at 10:30\)").text == "(at 10:30)"
    assert MusicRequest("(loud:1.0) piano").text == "loud piano"


@pytest.mark.parametrize("kind", [GenerationRequest, MusicRequest])
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("seed", "7", "seed must be an integer, found str"),
        ("seed", 1.5, "seed must be an integer, found float"),
        ("seconds", "4", "seconds must be a number, found str"),
        ("seconds", [1, 2], "seconds must be a number, found list"),
        ("guidance", "3", "guidance must be a (number|Guidance), found str"),
    ],
)
def test_values_that_are_not_numbers_are_rejected(kind, field, value, sentence):
    with pytest.raises(RequestError, match=sentence):
        kind("rain", **{field: value})


def test_the_limit_of_steps_is_named():
    with pytest.raises(RequestError, match="steps must be between 1 and 10000, found 0"):
        GenerationRequest(steps=np.int64(0))
    with pytest.raises(RequestError, match="steps must be an integer, found float"):
        GenerationRequest(steps=8.0)
