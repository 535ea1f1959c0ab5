"""Blends of two prompts in requests: numbers, curves, records and nonsense."""

import json

import numpy as np
import pytest

from soundloom.config.stable_audio.mix import check_mix, parse_mix
from soundloom.config.stable_audio.request import Compat, GenerationRequest
from soundloom.errors import RequestError

NONSENSE = [
    *(-0.1, 1.1, float("nan"), float("inf"), True, "0.5", b"1", {}, {0: 1}, object(), 1 + 1j),
    *([], [0.5], [(0, 0, 0)], [(0, 2)], [(-1, 0)], [(float("nan"), 0)], [("0", 0)], [(1, 0), (1, 1)], [(2, 0), (1, 1)]),
    *([(0, None)], [(1e9, 0)], [(i, 0) for i in range(1001)], np.zeros((2, 2)), [None], ["0:1"], [(0, 10**400)]),
]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_nonsense_is_rejected_with_a_sentence(value):
    with pytest.raises(RequestError, match=r"mix"):
        GenerationRequest("a", prompt_b="b", mix=value)


@pytest.mark.parametrize(
    "text", ["", "a", "0:0,", "0:0,,2:1", "0:0 2:1", "0;1", "2", "-1", "nan", "0:0,2:1:3", ":", "1:"]
)
def test_nonsense_in_the_command_line_is_rejected(text):
    with pytest.raises(RequestError, match=r"mix|curve"):
        parse_mix(text)


def test_numbers_and_curves_are_parsed():
    assert parse_mix("0.4") == 0.4
    assert parse_mix("0:0, 2:1") == ((0.0, 0.0), (2.0, 1.0)) == check_mix([(0, 0), [2, np.float32(1)]])
    assert check_mix(np.float64(0.25)) == 0.25


def test_a_constant_curve_is_its_number():
    assert GenerationRequest("a", prompt_b="b", mix=[(0, 0.3), (2, 0.3)]).mix == 0.3


def test_the_default_is_a_half_and_a_mix_needs_two_prompts():
    assert GenerationRequest("a", prompt_b="b").mix == 0.5
    assert GenerationRequest("a").mix is None
    with pytest.raises(RequestError, match="a mix needs a second prompt"):
        GenerationRequest("a", mix=0.5)
    with pytest.raises(RequestError, match="the second prompt must be text"):
        GenerationRequest("a", prompt_b=3)


def test_at_the_ends_one_prompt_is_left():
    assert GenerationRequest("a", prompt_b="b", mix=0).blend == ("a", None, 0.0)
    assert GenerationRequest("a", prompt_b="b", mix=1).blend == ("b", None, 0.0)
    assert GenerationRequest("a", prompt_b="b", mix=0.5).blend == ("a", "b", 0.5)
    assert GenerationRequest("(a:2)", prompt_b=r"\(b", mix=0.5).texts == ("a", "(b")
    assert GenerationRequest("(a:2)", prompt_b="b", mix=1).texts == ("b",)


@pytest.mark.parametrize("mix", [0.4, 0, [(0, 0), (2, 1)], [(0.5, 1), (1.5, 0.25), (3, 1)]])
def test_records_hold_blends(mix):
    request = GenerationRequest("(a:1.3)", prompt_b="b", mix=mix)
    record = json.loads(json.dumps(request.to_record()))
    assert GenerationRequest.from_record(record) == request


def test_a_damaged_record_is_rejected():
    for mix in ("x", [[0]], 3, [[0, "1"]]):
        with pytest.raises(RequestError):
            GenerationRequest.from_record({"prompt": "a", "prompt_b": "b", "mix": mix})


@pytest.mark.parametrize("field", ["prompt", "prompt_b", "negative_prompt"])
def test_a_weight_out_of_range_is_rejected_in_every_prompt(field):
    with pytest.raises(RequestError, match="the weight 30 of 'at 10'"):
        GenerationRequest(**{"prompt": "a", field: "(at 10:30)"})
    # The published package has no weights, so nothing is out of range.
    GenerationRequest(**{"prompt": "a", field: "(at 10:30)"}, compat=Compat.named("stable-audio-3"))
