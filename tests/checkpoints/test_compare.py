import numpy as np
import pytest

from soundloom.checkpoints.compare import depth, require_match
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import MismatchError

LAYERS = {f"model.model.transformer.layers.{i}.pre_norm.gamma": (4,) for i in range(3)}


def tensors(shapes):
    return {name: from_array(name, np.zeros(shape, np.float32)) for name, shape in shapes.items()}


def test_equal_sets_match_in_the_wanted_order():
    found = require_match(tensors(dict(reversed(LAYERS.items()))), LAYERS, "file")
    assert list(found) == list(LAYERS)


def test_optional_tensors_are_ignored():
    extra = tensors(LAYERS | {"model.model.transformer.rotary_pos_emb.inv_freq": (2,)})
    assert require_match(extra, LAYERS, "file").keys() == LAYERS.keys()


def test_every_fault_is_counted_and_the_first_named():
    wrong = {"extra.weight": (1,), "model.model.transformer.layers.1.pre_norm.gamma": (5,)}
    with pytest.raises(MismatchError) as caught:
        require_match(tensors(wrong), LAYERS, "a.safetensors")
    sentence = str(caught.value)
    assert "a.safetensors does not match" in sentence
    assert "2 tensors missing (model.model.transformer.layers.0.pre_norm.gamma" in sentence
    assert "1 tensor unexpected (extra.weight)" in sentence
    assert "1 tensor with a wrong shape (model.model.transformer.layers.1.pre_norm.gamma [5] instead" in sentence


def test_a_shallower_model_is_recognized():
    with pytest.raises(MismatchError) as caught:
        require_match(tensors({name: LAYERS[name] for name in list(LAYERS)[:2]}), LAYERS, "file")
    assert "the file has 2 blocks, the configuration 3" in caught.value.hint


@pytest.mark.parametrize(
    ("found", "wanted", "hint"),
    [
        ({"model.encoder.norm.weight": (1,)}, LAYERS, "holds a text encoder"),
        (LAYERS, {"model.encoder.norm.weight": (1,)}, "holds no text encoder"),
        ({"generator.conv": (1,)}, LAYERS, "no name matches"),
    ],
)
def test_a_file_of_another_kind_is_recognized(found, wanted, hint):
    with pytest.raises(MismatchError) as caught:
        require_match(tensors(found), wanted, "file")
    assert hint in caught.value.hint


def test_depth_counts_the_innermost_number():
    assert depth(["encoder.layers.0.transformers.5.x", "decoder.layers.3.transformers.11.y"]) == 12
    assert depth(["norm.weight"]) == 0
