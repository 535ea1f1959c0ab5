"""Tensor counts and parameter totals against those of the published files."""

import math
from dataclasses import replace

import pytest

from soundloom.checkpoints.stable_audio.shapes import (
    CONDITIONER_PREFIX,
    DIT_PREFIX,
    SAME_PREFIX,
    ignorable_shapes,
    is_ignorable,
    model_shapes,
    same_shapes,
    t5gemma_shapes,
)
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig

FILES = {
    "small-music": {DIT_PREFIX: (438, 459_130_896), SAME_PREFIX: (244, 108_244_721), CONDITIONER_PREFIX: (3, 198_144)},
    "medium": {DIT_PREFIX: (522, 1_453_170_192), SAME_PREFIX: (472, 852_127_457), CONDITIONER_PREFIX: (3, 198_144)},
    "same-s": {SAME_PREFIX: (244, 108_244_721), SAME_PREFIX + "encoder.": (120, 53_728_888)},
    "same-l": {SAME_PREFIX: (472, 852_127_457), SAME_PREFIX + "decoder.": (234, 426_063_088)},
}
TOTALS = {"small-music": 685, "medium": 997, "same-s": 244, "same-l": 472}


def everything(name):
    config = CATALOGUE[name].parsed_config()
    return model_shapes(config) | ignorable_shapes(config)


@pytest.mark.parametrize(("name", "prefix"), [(name, prefix) for name in FILES for prefix in FILES[name]])
def test_counts_and_parameters_are_those_of_the_published_files(name, prefix):
    part = {key: shape for key, shape in everything(name).items() if key.startswith(prefix)}
    assert (len(part), sum(map(math.prod, part.values()))) == FILES[name][prefix]


@pytest.mark.parametrize("name", TOTALS)
def test_no_tensor_lies_outside_the_known_prefixes(name):
    assert len(everything(name)) == TOTALS[name]


def test_medium_has_the_published_number_of_parameters():
    assert sum(map(math.prod, everything("medium").values())) == 2_305_495_793


def test_text_encoder_counts():
    shapes = t5gemma_shapes(T5GemmaConfig())
    assert (len(shapes), sum(map(math.prod, shapes.values()))) == (134, 281_580_288)


def test_large_has_about_the_announced_number_of_parameters():
    dit = {key: shape for key, shape in everything("large").items() if key.startswith(DIT_PREFIX)}
    assert sum(map(math.prod, dit.values())) == pytest.approx(2.7e9, rel=0.05)


def test_only_recomputed_and_unused_tensors_may_be_missing():
    config = CATALOGUE["medium"].parsed_config()
    assert all(map(is_ignorable, ignorable_shapes(config)))
    assert not any(map(is_ignorable, model_shapes(config)))
    assert is_ignorable("model.decoder.layers.0.mlp.up_proj.weight")


def test_differential_attention_fuses_more_projections():
    layer = DIT_PREFIX + "transformer.layers.0."
    small, medium = everything("small-music"), everything("medium")
    assert small[layer + "self_attn.to_qkv.weight"] == (3 * 1024, 1024)
    assert medium[layer + "self_attn.to_qkv.weight"] == (5 * 1536, 1536)
    assert medium[layer + "cross_attn.to_q.weight"] == (2 * 1536, 1536)
    assert medium[layer + "cross_attn.to_kv.weight"] == (3 * 1536, 1536)


def test_latent_shortcut_adds_one_matrix_to_each_half():
    config = CATALOGUE["same-s"].parsed_config().same
    halves = {
        side: replace(block, config=replace(block.config, latent_shortcut=True))
        for side, block in (("encoder", config.encoder), ("decoder", config.decoder))
    }
    added = same_shapes(replace(config, **halves)).items() - same_shapes(config).items()
    assert dict(added) == {
        "encoder.layers.0.shortcut.weight": (768, 16 * 768),
        "decoder.layers.3.shortcut.weight": (16 * 768, 768),
    }
