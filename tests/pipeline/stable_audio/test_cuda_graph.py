"""Test that replayed graphs equal eager execution: nothing of the captured clip stays in the graph.

Without a GPU, a replay runs its program again on its fixed buffers.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.config.stable_audio.request import Guidance  # noqa: E402
from soundloom.engines.torch.cuda_graphs import GraphCache  # noqa: E402
from soundloom.pipeline.load import load  # noqa: E402

CASES = {
    "pingpong": {"steps": 3},
    "euler, guided in part": {"steps": 4, "sampler": "euler", "guidance": Guidance(3.0, interval=(0.4, 1.0))},
    "rk4": {"steps": 2, "sampler": "rk4"},
    "multistep": {"steps": 4, "sampler": "dpmpp-2m", "guidance": 2.0, "negative_prompt": "hiss"},
    "third order with noise": {"steps": 4, "sampler": "dpmpp-3m-sde"},
}


@pytest.fixture
def models(tiny_model_folder):
    """Return a model that runs eagerly and one that captures and replays graphs."""
    plain, capturing = (load(tiny_model_folder, device="cpu", precision="fp32", keep_loaded=True) for _ in range(2))
    capturing.engine.graphs = GraphCache()
    return plain, capturing


def require_equal(clips):
    plain, replayed = (clip.audio for clip in clips)
    assert plain.shape == replayed.shape
    np.testing.assert_allclose(replayed, plain, atol=2e-4 * np.abs(plain).max())


def captured(model):
    return [key for key in model.engine.graphs.captured if key[0] != "text"]


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_clips_of_one_shape_share_a_graph_and_nothing_else(models, options):
    for seed, prompt, seconds in ((1, "rain", 0.5), (2, "a bell", 0.51), (3, "two kick drums", 0.49)):
        require_equal([model.generate(prompt, seconds=seconds, seed=seed, **options) for model in models])
    assert len(captured(models[1])) == 1


def test_batch_sizes_lengths_and_scales_have_separate_graphs(models):
    capturing = models[1]
    for options in ({"seconds": 0.5}, {"seconds": 1.5}, {"seconds": 0.5, "guidance": 2.0, "sampler": "euler"}):
        for seed in (1, 2):
            capturing.generate("rain", seed=seed, steps=2, **options)
    assert len(captured(capturing)) == 3
    for seed in (1, 3):
        require_equal([model.generate(["rain", "wind"], seconds=0.5, seed=seed, steps=2)[1] for model in models])
    assert len(captured(capturing)) == 4


def test_edits_are_captured_with_source_and_mask_as_inputs(models):
    sources = [models[0].generate("rain", seconds=1, seed=seed, steps=2) for seed in (1, 2, 3)]
    for place, source in enumerate(sources):
        regions = [(0.2 + 0.1 * place, 0.7)]
        require_equal([model.inpaint(source, regions, "bell", steps=2, seed=4) for model in models])
        require_equal([model.vary(source, "bell", noise=0.5 + 0.1 * place, steps=2, seed=4) for model in models])
    assert len(captured(models[1])) == 2


def test_freeing_networks_evicts_their_graphs(models):
    capturing = models[1]
    for seed in (1, 2):
        capturing.generate("rain", seconds=0.5, seed=seed, steps=1)
    assert captured(capturing)
    capturing.engine.free("dit")
    assert not capturing.engine.graphs.captured


def test_least_recently_used_graphs_are_evicted_first():
    recorder, x = GraphCache(max_graphs=2), torch.ones(1)
    for key in ("a", "a", "b", "b", "a", "c", "c"):
        assert recorder(key, lambda arrays: (arrays["x"] + 1,), {"x": x})[0] == 2
    assert list(recorder.captured) == ["a", "c"]
