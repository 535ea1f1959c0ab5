"""The whole recipe at tiny size: stopped, taken up again, exported and opened."""

import logging

import numpy as np
import pytest
import torch
from training.tiny_recipe import MODEL, write_recipe

from soundloom.checkpoints.open import open_checkpoint
from soundloom.checkpoints.verify import verify
from soundloom.errors import MismatchError
from soundloom.training import export as exporting
from soundloom.training.config import SoundsConfig, read_toml
from soundloom.training.mini import Recipe, main

LOOP = {"steps": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-4, "warmup_steps": 1}
CONFIGS = {
    "model": MODEL,
    "text_encoder": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "intermediate_size": 32,
        "query_pre_attn_scalar": 32,
    },
    "sounds": {"clips": 6, "families": ["tone"], "scenes": False, "reverb": False, "seconds": [1.0, 1.5]},
    "flow_sounds": {"clips": 4, "families": ["bell", "rain"], "scenes": False, "reverb": False, "seconds": [1.0, 2.0]},
    "tokenizer": {"vocabulary": 200},
    "autoencoder": {
        "clips": 4,
        "batch": 2,
        "frames": 8,
        "pca_seconds": 0.2,
        "loop": LOOP,
        "spectral": {"windows": [256, 64], "overlap": 2},
    },
    "dit": {"batch": 2, "silence_seconds": 0.01, "loop": LOOP},
    "distillation": {"batch": 2, "teacher_steps": 2, "loop": LOOP},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished tiny model, made in two sittings, and its recipe."""
    folder = tmp_path_factory.mktemp("recipe")
    write_recipe(folder / "configs", CONFIGS)
    recipe = Recipe(folder / "configs", folder / "work", folder / "models" / "tiny")
    again = Recipe(recipe.configs, recipe.work, recipe.out, until=lambda: (folder / "work" / "dit").exists())
    torch.manual_seed(0)
    assert not again.run()
    assert not recipe.out.exists()
    assert recipe.run()
    return recipe


def test_the_model_opens_strictly_and_is_finite(made):
    checkpoint = open_checkpoint(made.out)
    assert checkpoint.layout == "published"
    assert checkpoint.config == made.model
    assert checkpoint.text_encoder is not None
    assert verify(checkpoint).ok


def test_the_model_makes_sound(made):
    from soundloom import load

    clip = load(made.out).generate("a tone", seconds=0.05, seed=1, duration_padding=0.0, steps=2)
    assert clip.audio.shape == (2, 2205)
    assert np.isfinite(clip.audio).all()


def test_an_exported_weight_is_the_trained_one(made):
    stored = open_checkpoint(made.out).tensors["pretransform.model.decoder.layers.1.weight"].numpy()
    trained = torch.load(made.work / "autoencoder" / "trained.pt", weights_only=True)["decoder.layers.1.weight"]
    np.testing.assert_array_equal(stored, trained.half().numpy())


def test_a_failed_export_leaves_the_older_model(made, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(exporting, "save_checkpoint", fail)
    before = open_checkpoint(made.out).fingerprint
    with pytest.raises(OSError, match="disk full"):
        made.run()
    assert open_checkpoint(made.out).fingerprint == before
    assert [path.name for path in made.out.parent.iterdir()] == ["tiny"]


def test_latents_have_unit_variance(made):
    with np.load(made.work / "latents.npz") as data:
        assert data["frames"].astype(np.float32).std() == pytest.approx(1, abs=0.05)


def test_a_configuration_with_a_typo_is_named(tmp_path, capsys):
    write_recipe(tmp_path / "configs", CONFIGS | {"sounds": {"clips": 3, "famillies": ["tone"]}})
    arguments = ["--work", str(tmp_path / "work"), "--configs", str(tmp_path / "configs"), "--out", str(tmp_path / "o")]
    assert main(arguments) == 1
    assert "did you mean 'families'?" in capsys.readouterr().err
    logging.getLogger().handlers.clear()


def test_a_weight_of_another_shape_is_an_error(made):
    other = made.out.parent.parent / "other"
    text = (made.out / "model_config.json").read_text().replace('"num_memory_tokens": 2', '"num_memory_tokens": 3')
    exporting.shutil.copytree(made.out, other)
    (other / "model_config.json").write_text(text)
    with pytest.raises(MismatchError, match="memory_tokens"):
        open_checkpoint(other)


def test_the_shipped_recipe_parses(made):
    from pathlib import Path

    configs = Path(__file__).parents[2] / "configs" / "mini"
    recipe = Recipe(configs, made.work, made.out)
    assert recipe.model.same.downsampling_ratio == 2048
    assert read_toml(SoundsConfig, configs / "sounds.toml").clips > 0
