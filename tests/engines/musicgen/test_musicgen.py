"""MusicGen's language model and adapter: caches, batches, engines and shortcuts do not change results."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from soundloom.autoregressive.generation import TokenRequest
from soundloom.config.musicgen.sampling import GREEDY, Sampling
from soundloom.errors import RequestError
from tests.engines.musicgen.reference import guided_logits
from tests.engines.musicgen.tiny import CONFIG, STEREO, Tiny

INSTALLED = [name for name, package in (("torch", "torch"), ("mlx", "mlx")) if find_spec(package)]
SAMPLED = Sampling(temperature=1.1, top_k=10)


@pytest.fixture(params=INSTALLED)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return Tiny(request.param)


class UncachedDecoder:
    """A decoder without a cache, which runs the whole sequence for each position."""

    def __init__(self, tiny: Tiny, clips: int, adapter_kv: object = None) -> None:
        self.tiny, self.clips, self.adapter_kv = tiny, clips, adapter_kv
        self.fed = np.zeros((clips, tiny.config.num_codebooks, 0), int)

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.fed = np.concatenate([self.fed, tokens], axis=-1)
        text = self.tiny.condition(self.tiny.hidden(self.clips))
        logits = self.tiny.logits(np.tile(self.fed, (2, 1, 1)), text, self.adapter_kv)[:, :, -1]
        return logits[: self.clips], logits[self.clips :]


@pytest.mark.parametrize("edits", [False, True])
@pytest.mark.parametrize("prompted", [0, 3])
def test_generation_with_and_without_cache_gives_equal_tokens(tiny: Tiny, edits: bool, prompted: int) -> None:
    adapter_kv = tiny.adapter_kv(tiny.tokens(2, 9)) if edits else None
    prompt = tiny.tokens(2, prompted, seed=5) if prompted else None
    request = TokenRequest(2, 9, SAMPLED, prompt=prompt)
    cached = tiny.generate(request, tiny.decoder_state(request, adapter_kv))
    assert (cached == tiny.generate(request, UncachedDecoder(tiny, 2, adapter_kv))).all()
    assert len(np.unique(cached)) > 5


@pytest.mark.skipif(len(INSTALLED) < 2, reason="one engine is not installed")
@pytest.mark.parametrize("config", [CONFIG, STEREO])
def test_a_seed_gives_the_same_tokens_on_both_engines(config) -> None:
    request = TokenRequest(2, 11, SAMPLED)
    first, second = (
        tiny.generate(request, tiny.decoder_state(request)) for tiny in (Tiny(e, config) for e in INSTALLED)
    )
    assert first.shape == (2, config.num_codebooks, 11)
    assert (first == second).all()


@pytest.mark.skipif(len(INSTALLED) < 2, reason="one engine is not installed")
def test_a_seed_gives_the_same_edit_on_both_engines() -> None:
    request = TokenRequest(2, 12, SAMPLED)
    first, second = (
        tiny.generate(request, tiny.decoder_state(request, tiny.adapter_kv(tiny.tokens(2, 12))))
        for tiny in map(Tiny, INSTALLED)
    )
    assert (first == second).all()


def test_a_clip_does_not_depend_on_its_batch(tiny: Tiny) -> None:
    both = tiny.generate(TokenRequest(2, 7, SAMPLED), tiny.decoder_state(TokenRequest(2, 7, SAMPLED)))
    alone = tiny.generate(TokenRequest(1, 7, SAMPLED), tiny.decoder_state(TokenRequest(1, 7, SAMPLED)))
    # The first clip has the same prompt and seed in both.
    assert (both[:1] == alone).all()


def test_rows_without_prompt_equal_rows_with_a_zero_prompt(tiny: Tiny) -> None:
    tokens, hidden = tiny.tokens(1, 6), tiny.hidden(1)
    without = tiny.logits(np.tile(tokens, (2, 1, 1)), tiny.condition(hidden))[1]
    mask = np.stack([np.ones(5, bool), np.zeros(5, bool)])
    zero = tiny.logits(np.tile(tokens, (2, 1, 1)), tiny.condition(np.tile(hidden, (2, 1, 1)), mask))[1]
    np.testing.assert_allclose(without, zero, atol=1e-5)


def test_prompt_padding_has_no_effect_only_when_masked(tiny: Tiny) -> None:
    tokens, short = tiny.tokens(1, 6), tiny.hidden(1, 3)
    padded = np.concatenate([short, np.ones((1, 2, CONFIG.text_width), np.float32)], axis=1)
    mask = np.array([[True] * 3 + [False] * 2])
    alone = tiny.logits(tokens, tiny.condition(short))
    np.testing.assert_allclose(tiny.logits(tokens, tiny.condition(padded, mask, mask_padding=True)), alone, atol=1e-5)
    assert np.abs(tiny.logits(tokens, tiny.condition(padded, mask)) - alone).max() > 1e-2


@pytest.mark.parametrize("frames", [1, 5, 12])
def test_edits_equal_the_reference_implementation(tiny: Tiny, frames: int) -> None:
    source, tokens = tiny.tokens(1, frames), tiny.tokens(1, frames + 3, seed=6)
    text = tiny.condition(tiny.hidden(1))
    found = tiny.logits(np.tile(tokens, (2, 1, 1)), text, tiny.adapter_kv(source))
    prompted, unprompted = guided_logits(
        tiny.weights, tiny.adapter_weights, CONFIG, tokens[0], source[0], tiny.hidden(1)[0]
    )
    np.testing.assert_allclose(found[0], prompted, atol=1e-4)
    np.testing.assert_allclose(found[1], unprompted, atol=1e-4)


def test_zero_gates_disable_the_adapter(tiny: Tiny) -> None:
    tokens, text = tiny.tokens(2, 6), tiny.condition(tiny.hidden(1))
    tiny.adapter.gates = tiny.adapter.gates * 0 if tiny.engine.name == "mlx" else _parameter(tiny.adapter.gates * 0)
    edited = tiny.logits(tokens, text, tiny.adapter_kv(tiny.tokens(1, 4)))
    np.testing.assert_allclose(edited, tiny.logits(tokens, text), atol=1e-6)


def _parameter(value):
    import torch

    return torch.nn.Parameter(value, requires_grad=False)


@pytest.mark.parametrize("frames", [0, 13])
def test_the_adapter_rejects_more_frames_than_it_has_positions(tiny: Tiny, frames: int) -> None:
    with pytest.raises(RequestError, match=f"1 to 12 frames at a time, found {frames}"):
        tiny.adapter_kv(tiny.tokens(1, frames))


@pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch is not installed")
@pytest.mark.parametrize("edits", [False, True])
def test_the_static_cache_equals_the_sliced_cache(edits: bool) -> None:
    import torch

    from soundloom.engines.torch.musicgen.kv_cache import StepGraph

    tiny, request = Tiny("torch"), TokenRequest(2, 8, GREEDY)
    adapter_kv = tiny.adapter_kv(tiny.tokens(2, 8)) if edits else None
    sliced, static = tiny.decoder_state(request, adapter_kv), tiny.decoder_state(request, adapter_kv)
    fed = tiny.tokens(2, 10, seed=8)
    for position in range(10):
        tokens = fed[..., position : position + 1]
        if position == 1:
            static.graph = StepGraph(static, torch.from_numpy(tokens).repeat(static.rows_per_clip, 1, 1))
        for found, wanted in zip(static(tokens), sliced(tokens), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_cache_does_not_grow_during_generation(tiny: Tiny) -> None:
    request = TokenRequest(1, 6, GREEDY)
    state = tiny.decoder_state(request)
    shapes = [np.shape(state.cache.keys), np.shape(state.cache.values)]
    tiny.generate(request, state)
    assert [np.shape(state.cache.keys), np.shape(state.cache.values)] == shapes
    assert state.cache.length == 9
