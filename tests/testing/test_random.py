import numpy as np
import pytest

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.save import LAYOUTS
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import RequestError
from soundloom.testing.stable_audio import main, make_random, tiny_config


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["small-sfx", "medium-base", "same-s", "same-l"])
def test_random_checkpoints_open_with_their_configuration(tmp_path, name, layout):
    checkpoint = open_checkpoint(make_random(name, tmp_path / name, layout, "tiny"))
    wanted = tiny_config(CATALOGUE[name].parsed_config())
    assert checkpoint.config.same == wanted.same
    if layout != "same-only":
        assert checkpoint.config == wanted


def test_the_same_seed_gives_the_same_weights(tmp_path):
    prints = [
        open_checkpoint(make_random("same-s", tmp_path / str(i), size="tiny", seed=i // 2)).fingerprint
        for i in range(3)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_tiny_model_keeps_rates_and_lengths():
    full, tiny = (
        config.same
        for config in (CATALOGUE["medium"].parsed_config(), tiny_config(CATALOGUE["medium"].parsed_config()))
    )
    assert tiny.downsampling_ratio == full.downsampling_ratio == 4096
    assert tiny.latent_dim == full.latent_dim
    assert tiny.encoder.config.sliding_window == full.encoder.config.sliding_window


def test_a_tiny_model_is_a_few_megabytes(tmp_path):
    folder = make_random("medium", tmp_path, size="tiny")
    assert sum(path.stat().st_size for path in folder.rglob("*.*") if path.is_file()) < 10e6


def test_weights_preserve_the_scale_of_activations(tmp_path):
    tensors = open_checkpoint(make_random("small-music", tmp_path, size="tiny")).tensors
    weight = tensors["model.model.transformer.layers.0.self_attn.to_qkv.weight"].numpy()
    assert np.std(weight) == pytest.approx(128**-0.5, rel=0.02)
    gains = tensors["model.model.transformer.layers.0.pre_norm.gamma"].numpy()
    np.testing.assert_allclose(gains, 1, atol=0.1)
    features = np.abs(tensors["model.model.to_timestep_embed.0.weight"].numpy()).mean(axis=0)
    assert features[127] < features[0] / 100


def test_custom_configurations_work(tmp_path):
    config = tiny_config(CATALOGUE["same-l"].parsed_config())
    for layout in ("published", "npz"):
        assert open_checkpoint(make_random(config, tmp_path / layout, layout)).config == config


def test_an_unknown_layout_is_rejected(tmp_path):
    with pytest.raises(RequestError, match="no layout 'onnx'"):
        make_random("same-s", tmp_path, "onnx", "tiny")


def test_command_line(tmp_path):
    main(["sm-music", str(tmp_path / "small-music"), "--layout", "npz", "--size", "tiny"])
    assert open_checkpoint(tmp_path / "small-music").layout == "npz"
