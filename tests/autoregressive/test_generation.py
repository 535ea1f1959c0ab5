"""The generation loop, with a fake decoder."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from soundloom.autoregressive import delay
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.config.musicgen.model import LMConfig
from soundloom.config.musicgen.sampling import GREEDY
from soundloom.errors import RequestError

CONFIG = LMConfig(hidden_size=8, num_attention_heads=2, vocab_size=32)


class Counter:
    """A decoder whose likeliest token is the number of the position; records its inputs."""

    def __init__(self) -> None:
        self.fed: list[np.ndarray] = []

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, None]:
        self.fed.append(tokens.copy())
        position = sum(each.shape[-1] for each in self.fed)
        return np.eye(32, dtype=np.float32)[[[position] * 4]], None


def test_frames_have_the_tokens_sampled_at_their_slots() -> None:
    last = list(generate(CONFIG, TokenRequest(1, 3, GREEDY), Counter()))[-1]
    assert last.tokens[0].tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]]


def test_a_clip_takes_three_more_passes_than_frames() -> None:
    for frames in (1, 2, 25):
        request = TokenRequest(1, frames, GREEDY)
        assert len(list(generate(CONFIG, request, Counter()))) == count_steps(CONFIG, request) == frames + 3


def test_progress_counts_complete_frames() -> None:
    found = [step.frames for step in generate(CONFIG, TokenRequest(1, 4, GREEDY), Counter())]
    assert found == [0, 0, 0, 1, 2, 3, 4]


def test_prompts_are_preserved_and_fed_in_one_pass() -> None:
    prompt, decoder = np.full((1, 4, 3), 31), Counter()
    *_, last = generate(CONFIG, TokenRequest(1, 5, GREEDY, prompt=prompt), decoder)
    assert (last.tokens[..., :3] == 31).all()
    assert last.tokens[0, :, 3:].tolist() == [[4, 5], [5, 6], [6, 7], [7, 8]]
    sequence = delay.build(prompt, CONFIG.delays, CONFIG.special_token)
    assert (decoder.fed[0] == sequence[..., :4]).all()
    assert [each.shape[-1] for each in decoder.fed] == [4, 1, 1, 1, 1]


def test_generation_stops_when_the_caller_stops() -> None:
    decoder = Counter()
    assert len(list(islice(generate(CONFIG, TokenRequest(1, 20, GREEDY), decoder), 2))) == 2
    assert len(decoder.fed) == 2


def test_prompts_as_long_as_the_clip_are_rejected() -> None:
    with pytest.raises(RequestError, match="a prompt of 3 frames leaves none of 3 frames"):
        TokenRequest(1, 3, GREEDY, prompt=np.zeros((1, 4, 3), int))
