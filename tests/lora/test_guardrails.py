"""Adapters that do not fit a model, are broken, or too strong: one sentence for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import MismatchError
from soundloom.lora.adapter import TYPES, Adapter
from soundloom.lora.arithmetic import column_norms, row_norms
from soundloom.lora.branches import Branches, LayerBranch, Term
from soundloom.lora.guardrails import (
    base_signature,
    canonical_model,
    check_branches,
    check_norms,
    fit,
    fitting_models,
    inverted_rows,
)
from soundloom.lora.modules import GROUPS, base_weights, matrix_shape, module_shapes
from tests.lora.made import make_adapter, make_weights

WEIGHTS = make_weights()
ALL = tuple(WEIGHTS)
SECONDS = "conditioners.seconds_total.embedder.embedding.1"
LINEAR = "model.transformer.layers.0.self_attn.to_qkv"


def norms_of(weights):
    def norms(name, of_rows):
        matrix = weights[name].numpy().reshape(matrix_shape(weights[name].shape))
        return row_norms(matrix) if of_rows else column_norms(matrix)

    return norms


def changed(adapter: Adapter, name: str = LINEAR, **arrays) -> Adapter:
    tensors = {kind: from_array(kind, array) for kind, array in arrays.items()}
    return replace(adapter, modules={**adapter.modules, name: adapter.modules[name].with_tensors(**tensors)})


# Names and shapes


@pytest.mark.parametrize("adapter_type", TYPES)
def test_an_adapter_of_the_model_fits_without_notices(adapter_type):
    adapter = make_adapter(adapter_type, WEIGHTS, names=ALL)
    fitted = fit(adapter, WEIGHTS, "small-music")
    assert fitted.modules.keys() == adapter.modules.keys()
    assert (fitted.notices, check_norms(fitted, norms_of(WEIGHTS))) == ((), [])


def test_an_adapter_of_a_deeper_model_is_refused_by_name():
    deeper = make_weights(shapes=catalogue_shapes("medium", layers=(0, 23)))
    adapter = make_adapter("lora", deeper, names=deeper)
    music = make_weights(shapes=catalogue_shapes("small-music", layers=(0, 19)))
    with pytest.raises(MismatchError) as raised:
        fit(adapter, music, "small-music")
    assert str(raised.value).startswith("made-lora is an adapter for medium, but the model is small-music: the model ")
    assert "lacks 2 of 4 layers (model.transformer.layers.23.cross_attn.to_" in str(raised.value)
    assert raised.value.hint == "use --model medium, or an adapter for small-music"


def catalogue_shapes(model, layers):
    from soundloom.config.catalogue import require_entry

    config = require_entry(model).parsed_config()
    assert isinstance(config, ModelConfig)
    wanted = [f".layers.{layer}.cross_attn.{part}" for layer in layers for part in ("to_q", "to_out")]
    return {name: shape for name, shape in module_shapes(config).items() if name.endswith(tuple(wanted))}


def test_an_adapter_with_other_shapes_is_refused_with_the_first_of_them():
    others = {name: tuple(2 * size for size in weight.shape) for name, weight in WEIGHTS.items()}
    adapter = make_adapter("dora-rows", make_weights(shapes=others), names=ALL)
    with pytest.raises(MismatchError, match=r"other shapes in") as raised:
        fit(adapter, WEIGHTS, "mine")
    assert "model.preprocess_conv: lora_A 3 x 1024 instead of 3 x 256" in str(raised.value)
    with pytest.raises(MismatchError, match="other shapes in"):
        fit(adapter, WEIGHTS, "mine", partial=True)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("lora_B", (384, 4), "lora_B 384 x 4 instead of 384 x 3"),
        ("lora_A", (3, 127), "lora_A 3 x 127 instead of 3 x 128"),
        ("magnitude", (128,), "magnitude 128 instead of 384"),
        ("baked_vnorm_row", (3,), "baked_vnorm_row 3 instead of 384"),
    ],
)
def test_each_tensor_must_fit(kind, shape, message):
    adapter = changed(make_adapter("dora-rows", WEIGHTS), **{kind: np.ones(shape, np.float32)})
    with pytest.raises(MismatchError, match=message):
        fit(adapter, WEIGHTS, "mine")


def test_layers_that_the_model_lacks_are_refused_or_left_out():
    weights = {name: weight for name, weight in WEIGHTS.items() if name != LINEAR}
    adapter = make_adapter("lora", WEIGHTS)
    with pytest.raises(
        MismatchError, match=rf"does not fit mine: the model lacks 1 of 3 layers \({LINEAR}\)"
    ) as raised:
        fit(adapter, weights, "mine")
    assert "--partial" in raised.value.hint
    fitted = fit(adapter, weights, "mine", partial=True)
    assert fitted.modules.keys() == adapter.modules.keys() - {LINEAR}
    assert any("which are left out" in notice for notice in fitted.notices)


def test_layers_that_the_lists_select_must_be_in_the_file():
    adapter = make_adapter("lora", WEIGHTS, include=["layers.[0-1].", "preprocess_conv"])
    with pytest.raises(MismatchError, match=r"the file lacks 1[0-9] layers .* that its lists select"):
        fit(adapter, WEIGHTS, "mine")
    assert any("that its lists select" in notice for notice in fit(adapter, WEIGHTS, "mine", partial=True).notices)
    assert fit(make_adapter("lora", WEIGHTS), WEIGHTS, "mine").notices == ()  # without lists, nothing is claimed


def test_a_file_without_the_conditioner_fits_with_a_notice():
    core = [name for name in ALL if any(part in name for part in GROUPS["core"])]
    adapter = make_adapter("lora", WEIGHTS, names=core, exclude=[*GROUPS["embeds"], ".to_local_embed."])
    assert [SECONDS in notice for notice in fit(adapter, WEIGHTS, "mine").notices] == [True]


def test_an_adapter_that_shares_no_layer_is_refused_even_partially():
    for partial in (False, True):
        with pytest.raises(MismatchError, match="the model lacks 3 of 3 layers"):
            fit(make_adapter("lora", WEIGHTS), {}, "mine", partial=partial)
        with pytest.raises(MismatchError, match="changes no layer"):
            fit(make_adapter("lora", WEIGHTS, names=()), WEIGHTS, "mine", partial=partial)


# Values


@pytest.mark.parametrize("adapter_type", TYPES)
def test_an_untrained_adapter_is_refused(adapter_type):
    adapter = make_adapter(adapter_type, WEIGHTS, size=0.0)
    with pytest.raises(MismatchError, match="changes nothing: it was saved before it was trained"):
        check_norms(fit(adapter, WEIGHTS, "mine"), norms_of(WEIGHTS))


def test_magnitudes_alone_are_a_change():
    adapter = make_adapter("dora-rows", WEIGHTS, size=0.0)
    louder = changed(adapter, magnitude=np.float32(1.1) * adapter.modules[LINEAR].array("magnitude"))
    assert check_norms(fit(louder, WEIGHTS, "mine"), norms_of(WEIGHTS)) == []


def test_magnitudes_of_another_model_are_reported():
    adapter = make_adapter("dora-rows", make_weights(seed=7))
    (warning,) = check_norms(adapter, norms_of(WEIGHTS))
    assert "may be for other weights" in warning
    assert "correlation of" in warning


def test_inverted_rows_are_counted_and_reported_above_one_percent():
    adapter = make_adapter("dora-rows", WEIGHTS)
    magnitude = adapter.modules[LINEAR].array("magnitude").copy()
    magnitude[:3] *= -1
    few = changed(adapter, magnitude=magnitude)
    assert inverted_rows(few) == {LINEAR: 3 / 384}
    assert fit(few, WEIGHTS, "mine").notices == ()
    magnitude[3:9] *= -1
    (notice,) = fit(changed(adapter, magnitude=magnitude), WEIGHTS, "mine").notices
    assert f"inverts more than 1% of the rows of 1 layer ({LINEAR})" in notice


def test_a_high_rank_with_as_high_an_alpha_is_reported():
    for rank, alpha, warns in ((65, 65.0, True), (65, 8.0, False), (64, 64.0, False)):
        adapter = make_adapter("lora", WEIGHTS, names=(LINEAR,), rank=rank, alpha=alpha)
        assert bool(fit(adapter, WEIGHTS, "mine").notices) == warns


def test_unusual_factors_of_rows_and_columns_are_reported():
    def branches(row, col=None):
        return Branches({LINEAR: LayerBranch((Term(row, col),), ())})

    ones = np.ones(4, np.float32)
    assert check_branches("style", branches(ones, -ones)) == []
    for factor in (0.1, 6.0):
        assert "outside 0.2 to 5" in check_branches("style", branches(ones * np.float32(factor)))[0]
        assert "outside 0.2 to 5" in check_branches("style", branches(None, -ones * np.float32(factor)))[0]


# The base model


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("stabilityai/stable-audio-3-small-music-base", "small-music"),
        ("sa3-sm-music", "small-music"),
        ("sm-sfx", "small-sfx"),
        ("medium_arc", "medium"),
        ("sa3-medium", "medium"),
        ("Medium-Base", "medium"),
        ("mini", "mini"),
        ("same-s", None),
        ("something else", None),
        (None, None),
        (["medium"], None),
    ],
)
def test_spellings_of_models(spelling, model):
    assert canonical_model(spelling) == model


def test_an_adapter_for_another_model_of_the_same_shapes_is_refused():
    adapter = make_adapter("lora", WEIGHTS, base_model="sa3-sm-sfx")
    with pytest.raises(MismatchError, match="is an adapter for small-sfx, but the model is small-music-base"):
        fit(adapter, WEIGHTS, "small-music-base")
    assert len(fit(adapter, WEIGHTS, "small-music", partial=True).notices) == 1
    assert fit(adapter, WEIGHTS, "small-sfx-base").notices == ()
    assert fit(adapter, WEIGHTS, "my-own-model").notices == ()


def test_unknown_names_of_models_pass_with_a_notice():
    adapter = make_adapter("lora", WEIGHTS, base_model="my model")
    assert "which is not a known one" in fit(adapter, WEIGHTS, "small-music").notices[0]
    assert fit(adapter, WEIGHTS, "my model").notices == ()


def test_signatures_tell_models_of_the_same_shapes_apart():
    signature = base_signature(WEIGHTS)
    adapter = make_adapter("lora", WEIGHTS, base_signature=signature)
    assert len(signature) == 16
    assert fit(adapter, WEIGHTS, "mine").notices == ()
    rounded = {name: weight.cast("F16") for name, weight in WEIGHTS.items()}
    assert fit(adapter, rounded, "mine").notices == ()
    (notice,) = fit(adapter, make_weights(seed=7), "mine").notices
    assert "was trained on other weights" in notice
    damaged = make_adapter("lora", WEIGHTS, base_signature={LINEAR: "text", "a": 1, SECONDS: float("nan")})
    assert fit(damaged, WEIGHTS, "mine").notices == ()


def test_adapters_tell_which_models_of_the_catalogue_they_fit():
    mini = base_weights(open_checkpoint("mini"))
    assert fitting_models(make_adapter("dora-cols", mini, names=mini)) == ["mini"]
    music = make_weights(shapes=catalogue_shapes("small-music", layers=(0, 19)))
    assert fitting_models(make_adapter("lora", music, names=music)) == ["small-music", "small-sfx"]
    without_sizes = make_adapter("lora-xs", music, names=music, own_bases=False)
    assert fitting_models(without_sizes) == ["small-music", "small-sfx", "medium"]
    assert fitting_models(make_adapter("lora", WEIGHTS)) == []


def test_signatures_of_mini_name_its_output_projections():
    signature = base_signature(base_weights(open_checkpoint("mini")))
    assert len(signature) == min(16, len(base_weights(open_checkpoint("mini"))))
    assert all(value > 0 for value in signature.values())
