import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.npz import read_npz, write_npz
from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, dit_shapes, model_shapes
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.parse import to_dict
from soundloom.errors import (
    CheckpointError,
    ConfigError,
    CorruptFileError,
    MismatchError,
    ModelNotFoundError,
)
from soundloom.testing.stable_audio import make_random, tiny_config

TINY = tiny_config(CATALOGUE["small-music"].parsed_config())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of a tiny small-music in every layout, in separate parents so that siblings cannot help."""
    root = tmp_path_factory.mktemp("made")
    for layout in ("published", "bf16-mirror", "same-only", "npz"):
        make_random("small-music", root / layout / "small-music", layout, "tiny")
    return root


@pytest.fixture
def published(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made / "published" / "small-music", tmp_path / "parent" / "small-music")


def change_weights(folder, change):
    path = folder / "model.safetensors"
    tensors = read_safetensors(path)
    change(tensors)
    write_safetensors(path, tensors.values())


@pytest.mark.parametrize("layout", ["published", "bf16-mirror", "npz"])
def test_every_full_layout_opens_to_the_same_model(made, layout):
    checkpoint = open_checkpoint(made / layout / "small-music")
    assert (checkpoint.layout, checkpoint.name, checkpoint.config) == (layout, "small-music", TINY)
    assert {name: tensor.shape for name, tensor in checkpoint.tensors.items()} == model_shapes(TINY)
    assert checkpoint.text_encoder.tensors["model.encoder.norm.weight"].shape == (64,)
    assert "Stability AI" in checkpoint.license
    reference = open_checkpoint(made / "published" / "small-music")
    for name in ("to_cond_embed.0.weight", "preprocess_conv.weight", "transformer.layers.1.ff_norm.gamma"):
        found, wanted = (each.tensors[DIT_PREFIX + name].numpy() for each in (checkpoint, reference))
        np.testing.assert_allclose(found, wanted, rtol=2**-7, atol=1e-6)


def test_component_drops_the_prefix(made):
    checkpoint = open_checkpoint(made / "published" / "small-music")
    assert checkpoint.component(DIT_PREFIX).keys() == dit_shapes(TINY.dit).keys()


def test_weights_are_views_of_the_file(made):
    tensors = open_checkpoint(made / "published" / "small-music").tensors
    assert all(tensor.is_raw for tensor in tensors.values())


def test_a_standalone_autoencoder_gets_the_prefix_of_full_checkpoints(made):
    checkpoint = open_checkpoint(made / "same-only" / "small-music")
    assert checkpoint.layout == "same-only"
    assert checkpoint.text_encoder is None
    assert {name: tensor.shape for name, tensor in checkpoint.tensors.items()} == model_shapes(checkpoint.config)


@pytest.mark.parametrize("name", ["model.safetensors", "model_config.json"])
def test_a_file_of_a_folder_opens_the_folder(made, name):
    folder = made / "published" / "small-music"
    assert open_checkpoint(folder / name).fingerprint == open_checkpoint(folder).fingerprint


@pytest.mark.parametrize("name", ["dit_sm-music_f16.npz", "same_s_encoder_f32.npz"])
def test_a_component_opens_with_its_neighbors(made, name):
    checkpoint = open_checkpoint(made / "npz" / "small-music" / name)
    assert (checkpoint.text_encoder is not None) == name.startswith("dit_")
    assert all(path.suffix == ".npz" for path in checkpoint.files)


def test_fingerprint_changes_with_any_weight(published):
    before = open_checkpoint(published).fingerprint

    def change(tensors):
        name = DIT_PREFIX + "to_cond_embed.0.weight"
        tensors[name] = from_array(name, tensors[name].numpy() + 1)

    change_weights(published, change)
    assert open_checkpoint(published).fingerprint != before


@pytest.mark.parametrize("place", [".", "stable-audio-3-small-music"])
def test_the_text_encoder_may_be_next_to_the_model_or_in_a_sibling(published, place):
    target = published.parent / place
    target.mkdir(exist_ok=True)
    shutil.move(published / "t5gemma-b-b-ul2", target)
    assert open_checkpoint(published).text_encoder is not None


def test_a_text_encoder_of_another_width_is_rejected(published):
    path = published / "model_config.json"
    data = json.loads(path.read_text())
    wide = replace(TINY, model=replace(TINY.model, conditioning=replace(TINY.model.conditioning, cond_dim=32)))
    path.write_text(json.dumps(data | to_dict(wide)))
    for name, shape in model_shapes(wide).items():
        if name.startswith("conditioner."):
            fresh = from_array(name, np.zeros(shape, np.float32))
            change_weights(published, lambda tensors, fresh=fresh: tensors.update({fresh.name: fresh}))
    with pytest.raises(MismatchError, match="has width 64, the model needs 32"):
        open_checkpoint(published)


def test_a_path_is_not_taken_for_a_name(published, monkeypatch):
    monkeypatch.chdir(published.parent)
    assert open_checkpoint(Path("small-music")).path == Path("small-music")


def test_a_model_without_text_encoder_opens(published):
    shutil.rmtree(published / "t5gemma-b-b-ul2")
    assert open_checkpoint(published).text_encoder is None


def test_a_text_encoder_without_tokenizer_is_rejected(published):
    (published / "t5gemma-b-b-ul2" / "tokenizer.model").unlink()
    with pytest.raises(ModelNotFoundError, match=r"lacks tokenizer\.model"):
        open_checkpoint(published)


def test_recomputed_tables_may_be_missing(published):
    change_weights(published, lambda tensors: tensors.pop(DIT_PREFIX + "transformer.rotary_pos_emb.inv_freq"))
    assert open_checkpoint(published).tensors


def test_a_missing_tensor_is_named(published):
    name = DIT_PREFIX + "to_cond_embed.0.weight"
    change_weights(published, lambda tensors: tensors.pop(name))
    with pytest.raises(MismatchError, match=f"1 tensor missing \\({name}"):
        open_checkpoint(published)


def test_an_extra_tensor_is_named(published):
    extra = from_array("model.model.extra", np.ones(1, np.float32))
    change_weights(published, lambda tensors: tensors.update({extra.name: extra}))
    with pytest.raises(MismatchError, match=r"1 tensor unexpected \(model\.model\.extra"):
        open_checkpoint(published)


def test_a_tensor_of_another_shape_is_named(published):
    name = DIT_PREFIX + "transformer.memory_tokens"
    wrong = from_array(name, np.ones((3, 128), np.float32))
    change_weights(published, lambda tensors: tensors.update({name: wrong}))
    with pytest.raises(MismatchError, match=r"memory_tokens \[3, 128\] instead of \[64, 128\]"):
        open_checkpoint(published)


def test_a_truncated_file_is_rejected(published):
    path = published / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match="truncated"):
        open_checkpoint(published)


def test_an_unknown_field_of_the_configuration_is_named(published):
    path = published / "model_config.json"
    data = json.loads(path.read_text())
    data["model"]["diffusion"]["config"]["embed_dimension"] = 3
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"model\.diffusion\.config\.embed_dimension"):
        open_checkpoint(published)


def test_weights_without_configuration_are_rejected_but_may_be_given_one(published):
    (published / "model_config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no model_config\.json next to"):
        open_checkpoint(published)
    assert open_checkpoint(published, config=TINY).config == TINY


def test_components_of_different_models_are_rejected(made, tmp_path):
    folder = shutil.copytree(made / "npz" / "small-music", tmp_path / "npz")
    tensors = read_npz(folder / "same_s_decoder_f32.npz")
    tensors["running_std"] = from_array("running_std", np.array([9.0], np.float32))
    copies = [from_array(name, tensor.numpy().copy()) for name, tensor in tensors.items()]
    write_npz(folder / "same_s_decoder_f32.npz", copies)
    with pytest.raises(MismatchError, match=r"disagree on .*running_std"):
        open_checkpoint(folder)


def test_a_missing_component_is_named(made, tmp_path):
    folder = shutil.copytree(made / "npz" / "small-music", tmp_path / "npz")
    (folder / "same_s_decoder_f32.npz").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no same_s_decoder\*\.npz"):
        open_checkpoint(folder)


def test_a_folder_with_several_models_asks_for_one(made, tmp_path):
    folder = shutil.copytree(made / "npz" / "small-music", tmp_path / "npz")
    shutil.copy(folder / "dit_sm-music_f16.npz", folder / "dit_sm-sfx_f16.npz")
    with pytest.raises(ModelNotFoundError, match=r"several dit_\*\.npz") as caught:
        open_checkpoint(folder)
    assert "give the file" in caught.value.hint
    assert open_checkpoint(folder / "dit_sm-sfx_f16.npz").name == "small-sfx"


def test_the_root_of_a_mirror_lists_its_models(published):
    with pytest.raises(ModelNotFoundError, match="is not a model") as caught:
        open_checkpoint(published.parent)
    assert "small-music" in caught.value.hint


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_never_opened(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04.")
    for source in (path, tmp_path):
        with pytest.raises(CorruptFileError, match="is a pickle"):
            open_checkpoint(source)


def test_other_files_are_rejected(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        open_checkpoint(tmp_path / "song.wav")


def test_an_unknown_name_gets_suggestions():
    with pytest.raises(ModelNotFoundError, match="no model is named 'smal-music'") as caught:
        open_checkpoint("smal-music")
    assert "small-music" in caught.value.hint
    assert "same-l" in caught.value.hint


def test_a_path_that_does_not_exist_is_not_taken_for_a_name(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no file or folder"):
        open_checkpoint(tmp_path / "absent")


def test_a_model_of_musicgen_is_rejected_before_it_is_fetched():
    with pytest.raises(ModelNotFoundError, match="musicgen-small is a MusicGen model") as caught:
        open_checkpoint("musicgen-small@transformers")
    assert "`soundloom generate`" in caught.value.hint


def test_large_is_not_public():
    with pytest.raises(ModelNotFoundError, match="not public"):
        open_checkpoint("large")


def test_an_unknown_layout_of_a_name_lists_the_known_ones():
    with pytest.raises(ModelNotFoundError, match="not available as 'onnx'") as caught:
        open_checkpoint("medium@onnx")
    assert "medium@npz" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="mini is not available as 'int4'"):
        open_checkpoint("mini@int4")


def test_a_missing_packaged_model_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr("soundloom.checkpoints.stable_audio.open.packaged_folder", lambda name: tmp_path / name)
    with pytest.raises(ModelNotFoundError, match="this installation lacks"):
        open_checkpoint("mini")


def test_the_packaged_model_opens_from_its_folder(published, monkeypatch):
    monkeypatch.setattr("soundloom.checkpoints.stable_audio.open.packaged_folder", lambda _: published)
    checkpoint = open_checkpoint("mini")
    assert (checkpoint.name, checkpoint.license) == ("mini", "Apache License 2.0")
