"""MusicGen and Instruct-MusicGen open in every layout with the same tensors under the same names."""

import json
import math

import numpy as np
import pytest

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.musicgen.components import WEIGHTS_FILE
from soundloom.checkpoints.musicgen.infer import setting
from soundloom.checkpoints.musicgen.open import is_musicgen, open_musicgen
from soundloom.checkpoints.musicgen.shapes import adapter_shapes, encodec_shapes, lm_shapes, t5_shapes
from soundloom.config.musicgen.model import MusicGenConfig, parse_composite_config, published_musicgen
from soundloom.errors import ConfigError, MismatchError, ModelNotFoundError
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen

pytest.importorskip("torch", reason="PyTorch, which writes the pickled layouts, is not installed")

PLAIN, EDITOR = (tiny_musicgen(published_musicgen("large", instruct=instruct)) for instruct in (False, True))
STEREO = tiny_musicgen(published_musicgen("small", stereo=True))
# Of a tensor's peak. What a layout rounds: half precision, weight norms, the way there and back of LoRA.
ROUNDING = {"musicgen": 0.0, "transformers": 1e-6, "audiocraft": 5e-4, "instruct": 1e-6, "bundle": 1e-3}
CASES = [(PLAIN, "musicgen"), (EDITOR, "musicgen"), (PLAIN, "transformers"), (STEREO, "transformers")]
CASES += [(PLAIN, "audiocraft"), (STEREO, "audiocraft"), (EDITOR, "instruct"), (EDITOR, "bundle")]


@pytest.fixture
def own(tmp_path):
    """Return the same weights in soundloom's own layout."""
    return lambda config: open_musicgen(make_musicgen(config, tmp_path / "own"))


@pytest.mark.parametrize(("config", "layout"), CASES)
def test_every_layout_opens_with_the_same_tensors(tmp_path, own, config, layout):
    folder = make_musicgen(config, tmp_path / layout, layout)
    assert is_musicgen(folder)
    found, wanted = open_musicgen(folder), own(config)
    assert found.config == config
    assert list(found.tensors) == list(wanted.tensors)
    assert found.tokenizer == wanted.tokenizer
    for name, tensor in found.tensors.items():
        if not isinstance(tensor, PackedTensor):
            values, truth = tensor.numpy().astype(np.float64), wanted.tensors[name].numpy()
            assert np.abs(values - truth).max() <= ROUNDING[layout] * np.abs(truth).max(), name


def test_a_training_checkpoint_of_another_model_is_not_recognized(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch, which writes the pickled layouts, is not installed")
    path = tmp_path / "model.ckpt"
    for content in ({"state_dict": {"diffusion.model.weight": torch.zeros(1)}}, [1], {"state_dict": 1}):
        torch.save(content, path)
        assert not is_musicgen(path)
        assert not is_musicgen(tmp_path)


@pytest.mark.parametrize("layout", ["int4", "int8", "bundle"])
def test_packed_weights_stay_packed(tmp_path, own, layout):
    found, wanted = open_musicgen(make_musicgen(EDITOR, tmp_path / layout, layout)), own(EDITOR)
    bits = 8 if layout == "int8" else 4
    packed = {name: tensor for name, tensor in found.tensors.items() if isinstance(tensor, PackedTensor)}
    assert found.layout == f"int{bits}"
    assert len(packed) == EDITOR.lm.num_hidden_layers * 8
    for name, tensor in packed.items():
        assert tensor.bits == bits
        truth = wanted.tensors[name].numpy()
        assert np.abs(tensor.numpy().astype(np.float32) - truth).max() < np.ptp(truth) / 2**bits


def test_bundles_may_have_a_prefix_and_separate_gates(tmp_path):
    folder = make_musicgen(EDITOR, tmp_path, "bundle")
    before = open_musicgen(folder)
    stored = {f"lm.{name}": tensor for name, tensor in read_safetensors(folder / WEIGHTS_FILE).items()}
    gates = stored.pop("lm.cp_transformer.gates").numpy()
    apart = {f"lm.adapter.gate.{index}": gate.reshape(()) for index, gate in enumerate(gates)}
    moved = [t.renamed(name) for name, t in stored.items()] + [from_array(name, gate) for name, gate in apart.items()]
    write_safetensors(tmp_path / "new.safetensors", moved)
    (tmp_path / "new.safetensors").replace(folder / WEIGHTS_FILE)
    after = open_musicgen(folder)
    assert list(after.tensors) == list(before.tensors)
    assert all(np.array_equal(tensor.numpy(), before.tensors[name].numpy()) for name, tensor in after.tensors.items())


@pytest.mark.parametrize("layout", ["musicgen", "transformers", "bundle"])
@pytest.mark.parametrize("fault", ["missing", "unexpected"])
def test_missing_and_unexpected_tensors_are_named(tmp_path, layout, fault):
    folder = make_musicgen(EDITOR if layout != "transformers" else PLAIN, tmp_path, layout)
    stored = read_safetensors(folder / WEIGHTS_FILE)
    if fault == "missing":
        stored.pop(next(name for name in stored if name.endswith(("linear2.weight", "fc2.weight"))))
    else:
        stored["stowaway.weight"] = from_array("stowaway.weight", np.zeros((3, 5), np.float32))
    write_safetensors(tmp_path / "new.safetensors", stored.values())
    (tmp_path / "new.safetensors").replace(folder / WEIGHTS_FILE)
    with pytest.raises(MismatchError, match=r"linear2|stowaway|weight without its"):
        open_musicgen(folder)


def test_a_model_without_its_text_encoder_says_where_to_get_it(tmp_path):
    folder = make_musicgen(PLAIN, tmp_path, "audiocraft")
    (folder / "t5-base" / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match="text encoder") as caught:
        open_musicgen(folder)
    assert "t5-base" in caught.value.hint


def test_a_training_checkpoint_is_never_taken_for_the_base_model(tmp_path):
    """The training checkpoint has separate cross-attention weights; its fused matrix is unused."""
    folder = make_musicgen(EDITOR, tmp_path, "instruct")
    name = "lm.transformer.layers.0.cross_attention.k_proj.weight"
    fused = "model.peft_model.lm.transformer.base_model.model.layers.0.cross_attention.in_proj_weight"
    from soundloom.checkpoints.formats.pickle import read_pickle

    width = EDITOR.lm.hidden_size
    dead = read_pickle(folder / "finetuned.ckpt")["state_dict"][fused].numpy()[width : 2 * width]
    assert not np.allclose(open_musicgen(folder).tensors[name].numpy(), dead)


def test_fingerprints_depend_only_on_weights(tmp_path):
    first, again = (open_musicgen(make_musicgen(PLAIN, tmp_path / "a")).fingerprint for _ in range(2))
    other = open_musicgen(make_musicgen(PLAIN, tmp_path / "b", seed=1)).fingerprint
    assert first == again != other


def test_training_configurations_are_read_by_section():
    text = "sample_rate: 32000\nseanet:\n  pad_mode: reflect\n  encoder:\n    pad_mode: no\nother:\n  num_heads: 3\n"
    assert setting(text, "", "sample_rate") == "32000"
    assert setting(text, "seanet", "pad_mode") == "reflect"
    assert setting(text, "seanet", "num_heads") == setting("", "seanet", "pad_mode") == ""


@pytest.mark.parametrize(
    ("size", "parameters"), [("small", 420_371_456), ("medium", 1_838_737_920), ("large", 3_256_956_928)]
)
def test_language_models_have_the_published_number_of_parameters(size, parameters):
    assert count(lm_shapes(published_musicgen(size).lm)) == parameters


def test_other_components_have_the_published_number_of_parameters():
    config = published_musicgen("large", instruct=True)
    assert count(t5_shapes(config.t5)) == 109_628_544
    assert count(adapter_shapes(config.lm, config.instruct)) == 50_276_352 + 201_326_592 + 48
    lengths = sum(shape[0] for name, shape in encodec_shapes(config.encodec).items() if name.endswith("conv.weight"))
    assert count(encodec_shapes(config.encodec)) + lengths == 56_884_674 + 4 * 2048 * 128


def count(shapes):
    return sum(math.prod(shape) for shape in shapes.values())


def test_unsupported_composite_configurations_are_rejected(tmp_path):
    data = json.loads((make_musicgen(PLAIN, tmp_path, "transformers") / "config.json").read_text())
    assert parse_composite_config(data) == PLAIN
    data["decoder"]["activation_function"] = "relu"
    with pytest.raises(ConfigError, match="activation_function"):
        parse_composite_config(data)


def test_components_of_different_models_are_rejected():
    with pytest.raises(ConfigError, match="codebooks"):
        MusicGenConfig(PLAIN.t5, published_musicgen("small").encodec, PLAIN.lm)
