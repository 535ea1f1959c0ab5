"""What attaching an adapter to a model refuses and reports."""

from __future__ import annotations

import pytest

from soundloom import load
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.files.write import write_adapter
from soundloom.lora.guardrails import base_signature
from soundloom.lora.modules import base_weights
from tests.lora.made import make_adapter, make_weights

LAYERS = ("model.transformer.layers.0.self_attn.to_qkv", "model.preprocess_conv")


@pytest.fixture(scope="module")
def weights(tiny_model_folder):
    return base_weights(open_checkpoint(tiny_model_folder))


@pytest.fixture
def model(tiny_model_folder):
    pytest.importorskip("torch")
    return load(tiny_model_folder, keep_loaded=True)


@pytest.fixture
def made(tmp_path, weights):
    def write(adapter_type="dora-rows", *, source=None, names=LAYERS, **options):
        path = tmp_path / "style.safetensors"
        write_adapter(path, make_adapter(adapter_type, source or weights, names=names, **options))
        return path

    return write


def generate(model):
    return model.generate("rain", seconds=0.2, steps=1, seed=1)


@pytest.mark.parametrize("adapter_type", ["lora", "dora-rows", "dora-cols", "bora"])
def test_an_untrained_adapter_is_refused(model, made, adapter_type):
    with pytest.raises(MismatchError, match="style changes nothing: it was saved before it was trained"):
        model.add_lora(made(adapter_type, size=0.0))
        generate(model)


def test_magnitudes_of_other_weights_are_reported_once(model, made, caplog):
    model.add_lora(made(source=make_weights(seed=8)))
    generate(model)
    generate(model)
    said = [record.message for record in caplog.records if "may be for other weights" in record.message]
    assert len(said) == 1
    assert said[0].startswith("style: it may be for other weights")


def test_a_signature_of_other_weights_is_reported(model, made, caplog, weights):
    model.add_lora(made(base_signature=base_signature(make_weights(seed=8))))
    assert any("was trained on other weights" in record.message for record in caplog.records)
    caplog.clear()
    model.clear_loras()
    model.add_lora(made(base_signature=base_signature(weights), seed=5))
    assert not caplog.records


def test_an_adapter_for_other_sizes_is_refused_before_anything_is_attached(model, made):
    mini = base_weights(open_checkpoint("mini"))
    with pytest.raises(MismatchError, match="style is an adapter for mini, but the model is tiny"):
        model.add_lora(made(source=mini))
    assert not model.adapters


def test_layers_that_the_model_lacks_need_partial(model, made, weights):
    deeper = {**weights, "model.transformer.layers.7.self_attn.to_qkv": weights[LAYERS[0]]}
    path = made(source=deeper, names=tuple(deeper))
    with pytest.raises(
        MismatchError, match=r"the model lacks 1 of 32 layers \(model\.transformer\.layers\.7\."
    ) as raised:
        model.add_lora(path)
    assert "partial" in raised.value.hint
    assert len(model.add_lora(path, partial=True).layers) == 31
    assert generate(model).samples


def test_a_strength_that_is_not_a_number_is_refused(model, made):
    with pytest.raises(RequestError):
        model.add_lora(made(), strength=float("nan"))
