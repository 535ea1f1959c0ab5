"""Bundles: quantized weights with a folder per component."""

import json
import shutil

import numpy as np
import pytest

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.bundle import can_pack, pack_transformer
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.save import save_bundle, save_checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, model_shapes
from soundloom.checkpoints.verify import verify
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import CorruptFileError, MismatchError, ModelNotFoundError
from soundloom.testing.stable_audio import make_random, tiny_config

TINY = tiny_config(CATALOGUE["small-music"].parsed_config())
LAYER = "transformer.layers.1.ff.ff.2"
DIT = "dit_sm_music"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    for layout in ("npz", "int4", "int8"):
        make_random("small-music", root / layout, layout, "tiny")
    return root


@pytest.fixture
def bundle(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made / "int4", tmp_path / "bundle")


def change(bundle, edit, part=DIT):
    path = bundle / part / "model.safetensors"
    tensors = {name: from_array(name, t.numpy().copy()) for name, t in read_safetensors(path).items()}
    edit(tensors)
    write_safetensors(path, tensors.values())


def replace_tensor(bundle, name, array):
    change(bundle, lambda tensors: tensors.update({name: from_array(name, array)}))


@pytest.mark.parametrize(("layout", "bits"), [("int4", 4), ("int8", 8)])
def test_a_bundle_opens_packed_to_the_model_of_its_npz_files(made, layout, bits):
    checkpoint, reference = open_checkpoint(made / layout), open_checkpoint(made / "npz")
    assert (checkpoint.layout, checkpoint.name, checkpoint.config) == (layout, "small-music", TINY)
    assert {name: tensor.shape for name, tensor in checkpoint.tensors.items()} == model_shapes(TINY)
    assert checkpoint.text_encoder.tokenizer == reference.text_encoder.tokenizer
    for name, tensor in checkpoint.tensors.items():
        wanted = reference.tensors[name].numpy()
        if can_pack(name, tensor.shape, 64):
            assert isinstance(tensor, PackedTensor)
            assert (tensor.bits, tensor.group_size) == (bits, 64)
            spread = np.ptp(wanted.astype(np.float32).reshape(len(wanted), -1, 64), axis=-1).max()
            assert np.abs(tensor.numpy() - wanted).max() <= 1.01 * spread / (2**bits - 1)
        else:
            np.testing.assert_array_equal(tensor.numpy(), wanted)


def test_transformer_matrices_with_divisible_inputs_are_packed(made):
    tensors = open_checkpoint(made / "int4").component(DIT_PREFIX)
    plain = {name for name, t in tensors.items() if len(t.shape) == 2 and not isinstance(t, PackedTensor)}
    local = {f"transformer.layers.{layer}.to_local_embed.0.weight" for layer in range(2)}  # 257 inputs
    assert plain == {"transformer.memory_tokens", *local}


def test_a_component_of_a_bundle_opens_the_complete_model(made):
    part = made / "int4" / DIT
    whole = open_checkpoint(made / "int4").fingerprint
    assert open_checkpoint(part).fingerprint == open_checkpoint(part / "model.safetensors").fingerprint == whole


def test_the_group_size_is_inferred_without_a_manifest(bundle):
    (bundle / DIT / "manifest.json").unlink()
    assert open_checkpoint(bundle).layout == "int4"


@pytest.mark.parametrize(("bits", "group_size"), [(4, 32), (4, 128), (8, 32), (8, 128)])
def test_other_groups_open_with_and_without_a_manifest(made, tmp_path, bits, group_size):
    source = open_checkpoint(made / "npz")
    save_checkpoint(tmp_path, f"int{bits}", source.config, dict(source.tensors), None, "small-music", group_size)
    for _ in range(2):
        tensor = open_checkpoint(tmp_path).tensors[f"{DIT_PREFIX}{LAYER}.weight"]
        assert (tensor.bits, tensor.group_size) == (bits, group_size)
        (tmp_path / DIT / "manifest.json").unlink(missing_ok=True)


def test_saving_a_bundle_again_preserves_quantized_values(made, tmp_path):
    source = open_checkpoint(made / "int4")
    save_checkpoint(tmp_path, "int4", source.config, dict(source.tensors), source.text_encoder, source.name)
    assert open_checkpoint(tmp_path).fingerprint == source.fingerprint


def test_a_bundle_may_mix_bits(made, tmp_path):
    source = open_checkpoint(made / "npz")
    name = f"{DIT_PREFIX}{LAYER}.weight"
    eight = {name: pack_transformer({name: source.tensors[name]}, 8, 64)[name]}
    four = pack_transformer({key: t for key, t in source.tensors.items() if key != name}, 4, 64)
    save_bundle(tmp_path, source.config, four | eight, None, source.name)
    found = open_checkpoint(tmp_path)
    assert found.layout == "mixed"
    assert found.tensors[name].bits == 8
    assert json.loads((tmp_path / DIT / "manifest.json").read_text())["quantized"][LAYER] == 8


def test_scales_count_in_the_fingerprint(bundle):
    before = open_checkpoint(bundle).fingerprint
    change(bundle, lambda tensors: tensors[f"{LAYER}.scales"].buffer().__setitem__(0, 77))
    assert open_checkpoint(bundle).fingerprint != before


def test_scales_that_are_not_finite_are_found(bundle):
    replace_tensor(bundle, f"{LAYER}.scales", np.full((128, 8), np.nan, np.float16))
    (bundle / "sha256.json").unlink()
    (fault,) = verify(open_checkpoint(bundle)).faults
    assert f"{LAYER}.weight" in fault


@pytest.mark.parametrize("part", ["weight", "scales", "biases"])
def test_an_incomplete_packed_weight_is_rejected(bundle, part):
    change(bundle, lambda tensors: tensors.pop(f"{LAYER}.{part}"))
    with pytest.raises(MismatchError, match=rf"packs {LAYER} without its {part}"):
        open_checkpoint(bundle)


def test_a_plain_weight_beside_scales_is_rejected(bundle):
    replace_tensor(bundle, f"{LAYER}.weight", np.ones((128, 512), np.float16))
    with pytest.raises(MismatchError, match=rf"mixes layouts: {LAYER} has scales"):
        open_checkpoint(bundle)


@pytest.mark.parametrize(
    ("tensor", "shape", "fault"),
    [
        ("biases", (128, 3), "do not match: weight .*, biases \\[128, 3\\]"),
        ("scales", (64, 8), "do not match"),
        ("weight", (128, 63), "has 63 words, which do not divide into values"),
        ("weight", (128, 32), "has 32 words, which do not divide into values"),  # two bits
    ],
)
def test_mismatched_shapes_are_rejected(bundle, tensor, shape, fault):
    dtype = np.uint32 if tensor == "weight" else np.float16
    replace_tensor(bundle, f"{LAYER}.{tensor}", np.ones(shape, dtype))
    with pytest.raises(MismatchError, match=fault):
        open_checkpoint(bundle)


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        ({"group_size": 48}, "has groups of 48"),
        ({"group_size": 128}, "do not divide into values"),
        ({"group_size": 64, "bits": 8}, "in 4 bits, but its manifest.json says 8"),
    ],
)
def test_a_manifest_that_contradicts_the_file_is_rejected(bundle, manifest, fault):
    (bundle / DIT / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MismatchError, match=fault):
        open_checkpoint(bundle)


def test_a_truncated_component_is_rejected(bundle):
    path = bundle / DIT / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match="truncated"):
        open_checkpoint(bundle)


def test_a_file_with_names_of_another_layout_is_rejected(bundle):
    replace_tensor(bundle, "model.model.to_cond_embed.0.weight", np.ones((128, 64), np.float16))
    with pytest.raises(MismatchError, match=r"1 tensor unexpected .*to_cond_embed\.0\.weight"):
        open_checkpoint(bundle)


def test_a_text_encoder_without_its_tokenizer_is_rejected(bundle):
    change(bundle, lambda tensors: tensors.pop("TOKENIZER_MODEL"), "t5gemma")
    with pytest.raises(MismatchError, match="lacks TOKENIZER_MODEL, the text encoder's SentencePiece model"):
        open_checkpoint(bundle)


def test_a_bundle_without_its_decoder_is_rejected(bundle):
    shutil.rmtree(bundle / "same_s_decoder")
    with pytest.raises(ModelNotFoundError, match=r"has no same_s_decoder\*/model\.safetensors"):
        open_checkpoint(bundle)
