"""aisfx and musicnn with random weights: shapes, batches, layouts."""

import numpy as np
import pytest
import torch

from soundloom.errors import EngineError, MismatchError, ModelNotFoundError
from soundloom.evaluation.embedders.base import Classifier, EmbedderInfo, TextEmbedder
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.embedders.musicnn import TAGS
from soundloom.evaluation.embedders.networks import aisfx, musicnn
from soundloom.evaluation.embedders.networks.run import FrameSpectra, NetworkEmbedder, load_weights


@pytest.fixture(scope="module", params=[(aisfx, aisfx.AisfxNetwork), (musicnn, musicnn.MusicnnNetwork)])
def embedder(request):
    module, network = request.param
    torch.manual_seed(0)
    info = EmbedderInfo("random", module.RATE, module.WINDOW, module.DIMENSIONS, "", batch=2)
    return NetworkEmbedder(info, network(), "cpu")


def noise(info, count):
    return (0.1 * np.random.default_rng(0).standard_normal((count, info.window))).astype(np.float32)


def test_a_window_has_the_same_vector_alone_and_in_a_batch(embedder):
    windows = noise(embedder.info, 3)
    together = embedder.embed(windows)
    assert together.shape == (3, embedder.info.dimensions)
    assert embedder.embed(windows[2:])[0] == pytest.approx(together[2], abs=1e-4 * float(np.abs(together).max()))
    assert embedder.embed(windows[:0]).shape == (0, embedder.info.dimensions)
    assert not isinstance(embedder, TextEmbedder | Classifier)


def test_silence_has_a_finite_vector(embedder):
    assert np.isfinite(embedder.embed(np.zeros((1, embedder.info.window), np.float32))).all()


def test_an_unavailable_device_is_refused():
    with pytest.raises(EngineError, match="no device"):
        NetworkEmbedder(EmbedderInfo("random", 1, 1, 1, ""), torch.nn.Identity(), "cuda:99")


def test_frames_lie_inside_the_window_and_power_is_that_of_the_spectrum():
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(musicnn.WINDOW) / musicnn.RATE)[None]
    power = FrameSpectra(512, 256, periodic=True)(sine)
    assert power.shape == (1, musicnn.FRAMES, 257)
    assert power[0, :, 32].numpy() == pytest.approx(np.full(musicnn.FRAMES, 128.0**2), rel=1e-3)  # 1000 Hz is bin 32


def test_features_of_musicnn_stay_finite_for_the_loudest_tone():
    tone = torch.sign(torch.sin(2 * torch.pi * 100 * torch.arange(musicnn.WINDOW) / musicnn.RATE))[None]
    features = musicnn.MusicnnNetwork().features(tone)
    assert features.shape == (1, musicnn.FRAMES, musicnn.BANDS)
    assert features.isfinite().all()
    assert float(features.max()) > 5


def test_layers_of_musicnn_are_centered_as_in_tensorflow():
    network = musicnn.MusicnnNetwork().eval()
    conv = network.conv2d_2  # 128 frames, one band
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[:, :, 63] = 1.0  # "same" padding of an even filter: 63 frames before, 64 after
    ramp = torch.arange(187.0)[None, None, :, None].expand(1, 1, 187, 96)
    out = network._layer(2, ramp)
    assert out.shape == (1, 51, 187, 96)
    assert out[0, 0, :, 0].detach().numpy() == pytest.approx(np.arange(187) / np.sqrt(1 + musicnn.EPSILON))


def test_maximum_and_mean_of_musicnn_alternate():
    network = musicnn.MusicnnNetwork().eval()
    seen = {}
    network.batch_normalization_9.register_forward_pre_hook(lambda _, inputs: seen.update(pooled=inputs[0]))
    with torch.no_grad():
        network(torch.randn(1, musicnn.WINDOW) * 0.1)
    maximum, mean = seen["pooled"][0, ::2], seen["pooled"][0, 1::2]
    assert len(maximum) == musicnn.POOLED / 2
    assert (maximum >= mean).all()


def test_weights_of_other_names_are_refused():
    with pytest.raises(MismatchError, match="random does not fit its network"):
        load_weights(torch.nn.Linear(2, 2), {"weight": np.zeros((2, 2), np.float32)}, "random")


def test_tags_are_as_many_as_logits():
    assert {len(set(tags)) for tags in TAGS.values()} == {musicnn.TAGS}


@pytest.mark.parametrize("name", ["aisfx", "musicnn", "musicnn-msd", "clap-music-speech"])
def test_missing_weights_are_one_error_that_says_how_to_fetch_them(name, monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=f"soundloom eval fetch {name}"):
        load_embedder(name)
