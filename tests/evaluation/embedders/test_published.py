"""aisfx and musicnn with their published weights, which pip fetches from the package index."""

import numpy as np
import pytest

from soundloom.cli.main import main
from soundloom.errors import DownloadError
from soundloom.evaluation.embedders.base import Classifier
from soundloom.evaluation.embedders.fetch import fetch_weights, find_fetched
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.embedders.sanity import separation
from soundloom.evaluation.embedders.weights import PACKAGED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Return a function that fetches weights to a cache of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))

        def load(name):
            try:
                fetch_weights(name, None, lambda line: None)
            except DownloadError as error:
                pytest.skip(f"the weights cannot be fetched here: {error}")
            return load_embedder(name, "cpu")

        yield load


def cosines(embedder, sounds):
    windows = np.stack(sounds).astype(np.float32)
    vectors = embedder.embed(windows)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_aisfx_hears_that_noise_is_like_noise_and_a_tone_is_not(fetched):
    embedder = fetched("aisfx")
    size, rng = embedder.info.window, np.random.default_rng(0)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(size) / embedder.info.rate)
    found = cosines(embedder, [0.1 * rng.standard_normal(size), 0.1 * rng.standard_normal(size), tone])
    assert found[0, 1] > 0.99
    assert found[0, 2] == pytest.approx(0.56, abs=0.02)
    assert separation(embedder).cosine < 0.9


def test_the_scale_of_features_is_the_packages(fetched):
    """Without the division by the largest training value, the cosines are those of the raw logarithms."""
    embedder = fetched("aisfx")
    size, rng = embedder.info.window, np.random.default_rng(0)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(size) / embedder.info.rate)
    network = embedder.network
    plain = network.features
    try:
        network.features = lambda windows: plain(windows) * 9.457798957824707
        found = cosines(embedder, [0.1 * rng.standard_normal(size), 0.1 * rng.standard_normal(size), tone])
    finally:
        del network.features
    assert found[0, 1] > 0.999
    assert found[0, 2] == pytest.approx(0.73, abs=0.02)


@pytest.mark.parametrize("name", ["musicnn", "musicnn-msd"])
def test_musicnn_tags_made_music(fetched, name):
    embedder = fetched(name)
    assert isinstance(embedder, Classifier)
    size, rate = embedder.info.window, embedder.info.rate
    times = np.arange(size) / rate
    beat = np.sin(2 * np.pi * 55 * times) * np.exp(-20 * (times % 0.5)) * 0.8
    beat += 0.2 * np.random.default_rng(0).standard_normal(size) * np.exp(-60 * ((times + 0.25) % 0.5))
    drone = 0.2 * sum(np.sin(2 * np.pi * pitch * times + pitch) for pitch in (220, 277.18, 329.63))
    logits = embedder.classify(np.stack([beat, drone]).astype(np.float32))
    assert logits.shape == (2, 50)
    difference = dict(zip(embedder.info.labels, logits[0] - logits[1], strict=True))
    rhythm, calm = {"musicnn": ("techno", "ambient"), "musicnn-msd": ("dance", "ambient")}[name]
    assert difference[rhythm] > 1
    assert difference[calm] < -0.5


def test_the_command_prints_license_hash_and_check(fetched, capsys):
    fetched("aisfx")
    assert main(["eval", "fetch", "aisfx"]) == 0
    printed = capsys.readouterr().out
    assert "license: CC BY 4.0; A. B. Ma and A. Lerch" in printed
    assert f"sha256: {PACKAGED['aisfx'].sha256}" in printed
    assert "unlike sounds: largest cosine 0.8" in printed


def test_fetched_weights_are_found_again(fetched):
    fetched("musicnn")
    found = find_fetched("musicnn")
    assert found is not None
    assert found.sha256 == PACKAGED["musicnn"].sha256
