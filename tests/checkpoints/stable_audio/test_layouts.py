import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.layouts import (
    DIT_NPZ,
    SAME_DECODER_NPZ,
    SAME_ENCODER_NPZ,
    SAME_ONLY,
    T5GEMMA_NPZ,
)
from soundloom.checkpoints.stable_audio.shapes import SAME_PREFIX, model_shapes, t5gemma_shapes
from soundloom.config.catalogue import CATALOGUE, PUBLISHED_TEXT_ENCODER
from soundloom.testing.stable_audio import tiny_config, tiny_text_encoder


@pytest.fixture(scope="module")
def canonical():
    random = np.random.default_rng(0)
    shapes = model_shapes(tiny_config(CATALOGUE["medium"].parsed_config()))
    shapes |= t5gemma_shapes(tiny_text_encoder(PUBLISHED_TEXT_ENCODER))
    return {name: from_array(name, random.standard_normal(shape, np.float32)) for name, shape in shapes.items()}


LAYOUTS = {
    "same-only": (SAME_ONLY, lambda name: name.startswith(SAME_PREFIX)),
    "dit": (DIT_NPZ, lambda name: name.startswith(("model.model.", "conditioner."))),
    "encoder": (
        SAME_ENCODER_NPZ,
        lambda name: name.startswith((f"{SAME_PREFIX}encoder.", f"{SAME_PREFIX}bottleneck.")),
    ),
    "decoder": (SAME_DECODER_NPZ, lambda name: name.startswith(f"{SAME_PREFIX}decoder.") or "running_std" in name),
    "text": (T5GEMMA_NPZ, lambda name: name.startswith("model.encoder.")),
}


def without_weight_norm(tensors):
    """Return the arrays with weight norms folded, since their split is arbitrary."""
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    for name in [name for name in arrays if name.endswith("weight_v")]:
        direction = arrays.pop(name).astype(np.float64)
        length = arrays.pop(name[:-1] + "g")
        arrays[name] = direction * length / np.sqrt((direction**2).sum(axis=(1, 2), keepdims=True))
    return arrays


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_round_trip(canonical, kind):
    layout, belongs = LAYOUTS[kind]
    wanted = {name: tensor for name, tensor in canonical.items() if belongs(name)}
    back = layout.to_canonical(layout.from_canonical(canonical))
    expected, found = without_weight_norm(wanted), without_weight_norm(back)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert back[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


def test_transformer_arrays_have_the_names_of_the_optimized_release(canonical):
    stored = DIT_NPZ.from_canonical(canonical)
    layer = "transformer.layers.0."
    assert stored[layer + "pre_norm.weight"].shape == (128,)
    assert stored[layer + "self_attn.q_norm.weight"].shape == (64,)
    assert stored[layer + "to_local_embed.seq.2.bias"].shape == (128,)
    assert stored[layer + "ff.ff.0.proj.weight"].shape == (1024, 128)
    assert stored["preprocess_conv.weight"].shape == (256, 1, 256)
    assert {name for name in stored if name.startswith("cond.")} == {
        "cond.padding_embedding",
        "cond.seconds_total_weight",
        "cond.seconds_total_bias",
    }


def test_autoencoder_arrays_have_the_names_of_the_optimized_release(canonical):
    decoder = SAME_DECODER_NPZ.from_canonical(canonical)
    block = {name for name in decoder if name.startswith("blocks.1.")}
    assert block == {
        *(f"blocks.1.{norm}.{part}" for norm in ("pre_norm", "ff_norm") for part in ("alpha", "gamma", "beta")),
        *(f"blocks.1.attn.{norm}.{part}" for norm in ("q_norm", "k_norm") for part in ("alpha", "gamma", "beta")),
        *(f"blocks.1.attn.{name}.weight" for name in ("to_qkv", "to_out")),
        *(f"blocks.1.ff.{name}.{part}" for name in ("glu_proj", "proj_out") for part in ("weight", "bias")),
    }
    assert {name for name in decoder if "blocks" not in name} == {
        "running_std", "project_in.weight", "project_in.bias", "new_tokens", "mapping.weight", "mapping.bias",
    }  # fmt: skip
    encoder = {name for name in SAME_ENCODER_NPZ.from_canonical(canonical) if "blocks" not in name}
    assert encoder == {
        "mapping.weight", "mapping.bias", "new_tokens", "project_out.weight", "project_out.bias",
        "scaling_factor", "bias", "running_std",
    }  # fmt: skip


def test_convolutions_are_transposed_by_content(canonical):
    name = "model.model.preprocess_conv.weight"
    stored = DIT_NPZ.from_canonical(canonical)["preprocess_conv.weight"].numpy()
    np.testing.assert_array_equal(stored[3, 0, 5], canonical[name].numpy()[3, 5, 0])


def test_folded_weight_is_the_product_of_length_and_direction():
    stack = f"{SAME_PREFIX}decoder.layers.3.mapping.weight_"
    direction = np.array([[[3.0, 4.0]], [[0.0, 2.0]]], np.float32)
    pair = {
        stack + "g": from_array(stack + "g", np.array([[[10.0]], [[1.0]]], np.float32)),
        stack + "v": from_array(stack + "v", direction),
    }
    folded = SAME_DECODER_NPZ.from_canonical(pair)["mapping.weight"]
    np.testing.assert_allclose(folded.numpy(), [[[6.0, 8.0]], [[0.0, 1.0]]])
    np.testing.assert_allclose(
        SAME_DECODER_NPZ.to_canonical({"mapping.weight": folded})[stack + "g"].numpy(), [[[10.0]], [[1.0]]]
    )


def test_a_zero_channel_gets_an_arbitrary_direction():
    stack = f"{SAME_PREFIX}decoder.layers.3.mapping.weight_"
    folded = from_array("mapping.weight", np.array([[[0.0, 0.0]], [[3.0, 4.0]]], np.float32))
    pair = SAME_DECODER_NPZ.to_canonical({"mapping.weight": folded})
    length, direction = pair[stack + "g"].numpy(), pair[stack + "v"].numpy()
    assert (length.flatten().tolist(), np.abs(direction).sum(axis=(1, 2)).all()) == ([0.0, 5.0], True)
    np.testing.assert_array_equal(SAME_DECODER_NPZ.from_canonical(pair)["mapping.weight"].numpy(), folded.numpy())


def test_unknown_names_are_kept():
    stray = from_array("stray", np.zeros(1, np.float32))
    assert "stray" in SAME_DECODER_NPZ.to_canonical({"stray": stray})
