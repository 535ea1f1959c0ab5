import numpy as np
import pytest

from soundloom.checkpoints.formats.npz import read_npz, write_npz
from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.components import open_component, open_text_encoder_component, variant_of
from soundloom.checkpoints.stable_audio.infer import infer_config
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX, dit_shapes, ignorable_shapes, model_shapes
from soundloom.config.catalogue import CATALOGUE
from soundloom.errors import CheckpointError, CorruptFileError, MismatchError, ModelNotFoundError
from soundloom.testing.stable_audio import make_random, tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_random("medium", tmp_path_factory.mktemp("npz"), "npz", "tiny")


def test_a_lone_transformer_opens_with_sizes_from_its_shapes(folder):
    component = open_component(folder / "dit_medium_f16.npz")
    config = tiny_config(CATALOGUE["medium"].parsed_config()).dit
    assert (component.kind, component.config) == ("dit", config)
    for name, shape in dit_shapes(config).items():
        assert component.tensors[DIT_PREFIX + name].shape == shape


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if not entry.is_musicgen])
def test_the_configuration_of_a_named_model_is_inferred_from_shapes(name):
    config = CATALOGUE[name].parsed_config()
    shapes = model_shapes(config) | ignorable_shapes(config)
    tensors = {key: LazyTensor(key, "F32", shape, lambda: np.zeros(0)) for key, shape in shapes.items()}
    assert infer_config(tensors, config) == config


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_lone_half_of_an_autoencoder_opens(folder, half):
    component = open_component(folder / f"same_l_{half}_f32.npz")
    assert component.kind == f"same_{half}"
    assert component.config == getattr(tiny_config(CATALOGUE["same-l"].parsed_config()).same, half).config


def test_text_encoder_brings_its_configuration_and_tokenizer(folder):
    import sentencepiece

    text = open_text_encoder_component(folder / "t5gemma_f16.npz")
    assert text.config.hidden_size == 64
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=text.tokenizer)
    assert tokenizer.decode(tokenizer.encode("bright snare")) == "bright snare"
    assert (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.bos_id(), tokenizer.unk_id()) == (0, 1, 2, 3)


@pytest.mark.parametrize("name", ["META", "TOKENIZER_MODEL"])
def test_a_text_encoder_without_its_bytes_is_rejected(folder, tmp_path, name):
    tensors = read_npz(folder / "t5gemma_f16.npz")
    del tensors[name]
    write_npz(tmp_path / "t5gemma_f16.npz", tensors.values())
    with pytest.raises(MismatchError, match=name):
        open_text_encoder_component(tmp_path / "t5gemma_f16.npz")


def test_meta_must_be_json(folder, tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in read_npz(folder / "t5gemma_f16.npz").items()}
    np.savez(tmp_path / "t5gemma_f16.npz", **arrays | {"META": np.frombuffer(b"{", np.uint8)})
    with pytest.raises(CorruptFileError, match="META"):
        open_text_encoder_component(tmp_path / "t5gemma_f16.npz")


def test_an_unknown_component_is_rejected(tmp_path):
    np.savez(tmp_path / "dit_medium_f16.npz", x=np.ones(2))
    with pytest.raises(CheckpointError, match="no known component"):
        open_component(tmp_path / "dit_medium_f16.npz")


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("dit_sm-music_f16", "small-music"),
        ("dit_small-sfx", "small-sfx"),
        ("dit_medium-base_f32", "medium-base"),
        ("same_l_decoder_f32", "same-l"),
        ("same_s_encoder_f32", "same-s"),
    ],
)
def test_file_names_select_the_variant(tmp_path, name, variant):
    assert variant_of(tmp_path / f"{name}.npz").name == variant


def test_a_name_without_a_variant_is_rejected(tmp_path):
    with pytest.raises(ModelNotFoundError, match="does not contain its model"):
        variant_of(tmp_path / "weights.npz")
