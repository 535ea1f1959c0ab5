"""CLAP with random weights: features, padding, windows, texts, refusals."""

import json

import numpy as np
import pytest
import torch

from soundloom.errors import CheckpointError, MismatchError
from soundloom.evaluation.embedders.base import TextEmbedder
from soundloom.evaluation.embedders.clap import open_embedder
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.frontend import prepare
from soundloom.evaluation.recipes import Recipe, find_recipe
from tests.training.objectives.test_clap import write_clap

pytest.importorskip("transformers", reason="transformers is not installed")

RATE = 48000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clap(tmp_path_factory.mktemp("clap") / "tïny")


@pytest.fixture(scope="module")
def embedder(folder):
    return open_embedder("tiny", folder, device="cpu")


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * RATE)))).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.06, 0.3, 0.6, 1.0])
def test_a_clip_up_to_the_window_has_the_features_of_transformers(embedder, folder, seconds):
    from transformers import ClapFeatureExtractor

    sound = noise(seconds)
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    wanted = extractor(sound[0], sampling_rate=RATE, return_tensors="pt").input_features[0]
    windows = prepare(sound, RATE, embedder.info, Recipe("test", "", "tiny", level="none"))
    features = embedder.network.features(torch.from_numpy(windows.windows))
    torch.testing.assert_close(features, wanted.float(), atol=2e-3, rtol=0)


def test_vectors_are_those_of_transformers(embedder):
    windows = noise(1.0)
    features = embedder.network.features(torch.from_numpy(windows))[:, None]
    wanted = embedder.network.model.get_audio_features(features).pooler_output
    assert embedder.embed(windows)[0] == pytest.approx(wanted[0].numpy(), abs=1e-6)
    assert isinstance(embedder, TextEmbedder)
    assert (embedder.info.rate, embedder.info.window, embedder.info.padding) == (RATE, RATE, "repeat")


def test_long_clips_have_the_same_vectors_in_every_run(embedder):
    recipe = find_recipe("soundloom", "tiny")
    vectors = [embedder.embed(prepare(noise(2.7), RATE, embedder.info, recipe).windows) for _ in range(2)]
    assert vectors[0].shape == (3, 8)
    assert np.array_equal(*vectors)


def test_a_window_has_the_same_vector_alone_and_in_a_batch(embedder):
    windows = np.concatenate([noise(1.0, seed) for seed in range(5)])
    together = embedder.embed(windows)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5))
    assert embedder.embed(windows[4:])[0] == pytest.approx(together[4], abs=1e-5)


def test_texts_do_not_depend_on_their_batch(embedder):
    texts = ["a dog", "a much longer caption of a dog that barks", "", "ünïcode", "rain"]
    together = embedder.embed_text(texts)
    assert together.shape == (5, 8)
    assert embedder.embed_text(texts[:1])[0] == pytest.approx(together[0], abs=1e-5)
    assert embedder.embed_text([]).shape == (0, 8)


def test_pickled_weights_give_the_same_vectors_and_run_no_code(folder, tmp_path):
    from transformers import ClapModel

    state = ClapModel.from_pretrained(folder).state_dict()
    trained = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}  # as older versions store
    assert len(trained) < len(state)
    torch.save(trained, tmp_path / "pytorch_model.bin")
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pickled, plain = open_embedder("pickled", tmp_path, device="cpu"), open_embedder("plain", folder, device="cpu")
    assert pickled.embed(noise(1.0))[0] == pytest.approx(plain.embed(noise(1.0))[0], abs=1e-6)
    assert pickled.info.hash != plain.info.hash

    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CheckpointError, match="not a zip archive"):
        open_embedder("unsafe", tmp_path)


def test_missing_tensors_are_an_error(folder, tmp_path):
    from transformers import ClapModel

    state = ClapModel.from_pretrained(folder).state_dict()
    del state["audio_projection.linear1.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(MismatchError, match=r"lacks 1 tensors, the first is audio_projection.linear1.weight"):
        open_embedder("partial", tmp_path)


def test_random_weights_are_refused_by_the_check_before_use(folder):
    with pytest.raises(CheckpointError, match=r"tïny does not tell sounds apart.*cosine"):
        load_embedder(str(folder))


def test_fusing_models_and_other_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="fuses features"):
        open_embedder("fused", write_clap(tmp_path / "fused", fusion=True))
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="holds no readable CLAP model"):
        open_embedder("empty", tmp_path)
