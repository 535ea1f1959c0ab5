"""Operations on adapters: what is exact is exact, and what is lost is measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import soundloom.lora
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.adapter import TYPES, is_xs
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.modules import SECONDS, group_of, matrix_shape
from soundloom.lora.operations.bake import BAKED, bake, baked_difference
from soundloom.lora.operations.combine import combine_exactly, combine_for, is_exact
from soundloom.lora.operations.convert import to_lora
from soundloom.lora.operations.extract import extract
from soundloom.lora.operations.low_rank import best_factors, singular_values, truncated
from soundloom.lora.operations.measure import measure, warnings_of
from soundloom.lora.operations.resize import MEASURES, kept_rank, resize
from tests.lora.made import SOME, adapted, change, make_adapter, make_weights

WEIGHTS = make_weights()
CONVOLUTION, LINEAR, OTHER = SOME
RNG = np.random.default_rng(4)


def tuned_by(adapter, weights=WEIGHTS):
    """Return the weights as an adapter at strength 1 makes them."""
    return {
        name: from_array(name, adapted(weight.numpy(), adapter.modules[name]).astype(np.float32))
        if name in adapter.modules
        else weight
        for name, weight in weights.items()
    }


def relative(found, wanted):
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


# Factors


@pytest.mark.parametrize("shape", [(40, 9), (9, 40), (12, 12)])
@pytest.mark.parametrize("rank", [1, 4, 20])
def test_best_factors_are_those_of_the_singular_value_decomposition(shape, rank):
    matrix = RNG.standard_normal(shape)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    down, up = best_factors(matrix, rank)
    assert down.shape == (min(rank, *shape), shape[1])
    assert np.allclose(up @ down, (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-5)
    assert np.allclose(np.linalg.norm(up, axis=0), np.linalg.norm(down, axis=1), atol=1e-5)


def test_best_factors_of_zeros_are_zeros():
    down, up = best_factors(np.zeros((5, 7)), 2)
    assert not np.any(up @ down)
    assert np.isfinite(down).all()


def test_truncation_is_the_best_approximation_of_a_product():
    down, up = RNG.standard_normal((6, 30)), RNG.standard_normal((50, 6))
    u, s, vt = np.linalg.svd(up @ down, full_matrices=False)
    assert np.allclose(singular_values(down, up), s[:6])
    low_down, low_up = truncated(down, up, 4)
    assert np.allclose(low_up @ low_down, (u[:, :4] * s[:4]) @ vt[:4], atol=1e-4)


# Convert


@pytest.mark.parametrize("adapter_type", TYPES)
def test_xs_types_convert_exactly(adapter_type):
    adapter = make_adapter(adapter_type, WEIGHTS, base_model="mini", kept="as it is")
    converted = to_lora(adapter)
    if not is_xs(adapter_type):
        assert converted is adapter
        return
    assert converted.type == adapter_type.removesuffix("-xs") == converted.config["adapter_type"]
    assert (converted.rank, converted.alpha, converted.config["kept"]) == (3, 4.0, "as it is")
    for name, module in converted.modules.items():
        assert module.tensors.keys() == {"lora_A", "lora_B", *module.tensors.keys() - {"lora_A", "lora_B"}}
        assert "U" not in module.tensors
        weight = WEIGHTS[name].numpy()
        before = adapted_weight(weight, [AdapterPart(adapter.modules[name])])
        assert np.allclose(adapted_weight(weight, [AdapterPart(module)]), before, atol=2e-6)


def test_converting_without_bases_says_what_is_needed():
    with pytest.raises(RequestError, match="stores no singular vectors") as raised:
        to_lora(make_adapter("lora-xs", WEIGHTS, own_bases=False))
    assert "--bases" in raised.value.hint


# Combine


def test_adapters_without_magnitudes_combine_exactly():
    first = make_adapter("lora", WEIGHTS, names=(LINEAR, CONVOLUTION), rank=2, alpha=5.0, trigger="bells")
    second = make_adapter("lora-xs", WEIGHTS, names=(LINEAR, OTHER), rank=4, seed=2, trigger="rain")
    combined = combine_exactly([first, second], [0.7, -0.4])
    assert is_exact([first, second])
    assert set(combined.modules) == set(SOME)
    assert (combined.rank, combined.alpha, combined.config["trigger"]) == (6, 6.0, "bells, rain")
    assert [module.rank for module in combined.modules.values()] == [6, 2, 4]
    for name in SOME:
        wanted = sum(s * change(one.modules[name]) for one, s in ((first, 0.7), (second, -0.4)) if name in one.modules)
        assert np.allclose(change(combined.modules[name]), wanted, atol=1e-6)
    assert json.loads(combined.metadata["provenance"])["adapters"][1]["strength"] == -0.4


def test_only_the_first_adapter_changes_how_the_duration_is_embedded():
    adapters = [make_adapter("lora", WEIGHTS, names=(LINEAR, SECONDS), seed=seed) for seed in (1, 2)]
    for seconds, wanted in (("first", [0]), ("all", [0, 1]), ("none", [])):
        combined = combine_exactly(adapters, [0.5, 0.5], seconds=seconds)
        assert combined.modules[LINEAR].rank == 6
        assert (SECONDS in combined.modules) == bool(wanted)
        if wanted:
            total = sum(0.5 * change(adapters[i].modules[SECONDS]) for i in wanted)
            assert np.allclose(change(combined.modules[SECONDS]), total, atol=1e-6)


@pytest.mark.parametrize("combine", ["chain", "sum"])
def test_adapters_with_magnitudes_combine_for_given_weights_with_a_measured_error(combine):
    adapters = [make_adapter("dora-rows", WEIGHTS, rank=2), make_adapter("bora", WEIGHTS, rank=2, seed=5)]
    assert not is_exact(adapters)
    combined, residuals = combine_for(WEIGHTS, adapters, [0.8, 0.5], combine=combine)
    assert combined.type == "dora-rows"
    assert combined.rank == 4
    for one in residuals:
        weight = WEIGHTS[one.name].numpy()
        parts = [AdapterPart(a.modules[one.name], s) for a, s in zip(adapters, (0.8, 0.5), strict=True)]
        wanted = adapted_weight(weight, parts, combine)
        found = adapted_weight(weight, [AdapterPart(combined.modules[one.name])])
        missing = np.linalg.norm(found - wanted) / np.linalg.norm(wanted - weight)
        assert missing == pytest.approx(np.sqrt(one.missing / one.change), rel=1e-3)
        assert missing < 0.8


def test_two_adapters_of_rows_combine_well_at_the_sum_of_their_ranks():
    adapters = [make_adapter("dora-rows", WEIGHTS, rank=2, size=0.1), make_adapter("lora", WEIGHTS, seed=3, size=0.1)]
    _, residuals = combine_for(WEIGHTS, adapters, [1.0, 1.0])
    assert max(np.sqrt(one.missing / one.change) for one in residuals) < 0.05


def test_combining_refuses_what_it_cannot_do():
    lora, rows = make_adapter("lora", WEIGHTS), make_adapter("dora-rows", WEIGHTS)
    with pytest.raises(RequestError, match="at least two adapters"):
        combine_exactly([lora], [1.0])
    with pytest.raises(RequestError, match="2 adapters need as many strengths, found 1"):
        combine_exactly([lora, lora], [1.0])
    with pytest.raises(RequestError, match="finite"):
        combine_exactly([lora, lora], [1.0, float("nan")])
    with pytest.raises(RequestError, match="type dora-rows can only be combined for given weights"):
        combine_exactly([lora, rows], [1.0, 1.0])
    with pytest.raises(MismatchError, match="has no layer"):
        combine_for({}, [lora, rows], [1.0, 1.0])
    with pytest.raises(RequestError, match="change nothing"):
        combine_for(WEIGHTS, [rows, rows], [0.0, 0.0])


def test_what_sources_agree_on_is_kept():
    first = make_adapter("lora", WEIGHTS, base_model="sa3-sm-music", include=["layers.0."])
    second = make_adapter("lora", WEIGHTS, base_model="small-music-base", include=["layers.0."])
    other = make_adapter("lora", WEIGHTS, base_model="medium")
    combined = combine_exactly([first, second], [1, 1]).config
    assert (combined["base_model"], combined["include"]) == ("small-music", ["layers.0."])
    assert "base_model" not in combine_exactly([first, other], [1, 1]).config
    assert combine_exactly([first, other], [1, 1]).config["include"] is None


# Resize


def test_resizing_keeps_the_best_part_of_the_change():
    adapter = make_adapter("dora-rows", WEIGHTS, rank=8, alpha=3.0, base_model="mini", kept=1)
    smaller, layers = resize(adapter, rank=5)
    assert (smaller.rank, smaller.alpha, smaller.config["kept"], smaller.config["base_model"]) == (5, 5.0, 1, "mini")
    for one in layers:
        wanted, found = change(adapter.modules[one.name]), change(smaller.modules[one.name])
        s = np.linalg.svd(wanted, compute_uv=False)
        assert relative(found, wanted) == pytest.approx(one.error, abs=1e-5)
        assert one.error == pytest.approx(np.linalg.norm(s[5:]) / np.linalg.norm(s), abs=1e-5)
        magnitude = smaller.modules[one.name].array("magnitude")
        assert np.array_equal(magnitude, adapter.modules[one.name].array("magnitude"))


def test_resizing_to_the_same_rank_changes_nothing():
    adapter = make_adapter("lora", WEIGHTS)
    same, layers = resize(adapter, rank=3)
    assert max(one.error for one in layers) < 1e-6
    assert all(np.allclose(change(same.modules[name]), change(adapter.modules[name]), atol=1e-6) for name in SOME)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("keep", [0.3, 0.9, 1.0])
def test_each_measure_bounds_what_is_lost(measure, keep):
    adapter = make_adapter("lora", WEIGHTS, rank=10)
    smaller, layers = resize(adapter, keep=keep, measure=measure)
    for one in layers:
        s = np.linalg.svd(change(adapter.modules[one.name]), compute_uv=False)[:10]
        shares = {
            "sv_fro": np.sqrt(np.cumsum(s**2) / np.sum(s**2)),
            "sv_cumulative": np.cumsum(s) / np.sum(s),
            "sv_ratio": np.append(s, 0) / s[0],
        }[measure]
        count = smaller.modules[one.name].rank
        if measure == "sv_ratio":
            assert shares[count - 1] >= keep - 1e-6 > shares[count] - 2e-6
        else:
            assert shares[count - 1] >= keep - 1e-6
            assert count == 1 or shares[count - 2] < keep
        if measure == "sv_fro":
            assert one.error <= np.sqrt(1 - keep**2) + 1e-4


def test_a_ratio_above_one_is_that_of_the_largest_to_the_smallest():
    values = np.array([8.0, 4.0, 1.0, 0.5])
    assert kept_rank(values, 4, "sv_ratio") == kept_rank(values, 0.25, "sv_ratio") == 2
    assert kept_rank(np.zeros(3), 0.5, "sv_fro") == 1


def test_resizing_refuses_what_it_cannot_do():
    adapter = make_adapter("lora", WEIGHTS)
    with pytest.raises(RequestError, match="whose rank is that of its bases"):
        resize(make_adapter("lora-xs", WEIGHTS), rank=2)
    for options, message in (
        ({}, "either a rank or a share"),
        ({"rank": 2, "keep": 0.5}, "either a rank or a share"),
        ({"rank": 4}, "cannot get rank 4"),
        ({"rank": 0}, "cannot get rank 0"),
        ({"keep": 1.5}, "above 0 and at most 1"),
        ({"keep": float("nan")}, "above 0 and at most 1"),
        ({"keep": 0.5, "measure": "other"}, "no measure 'other'"),
    ):
        with pytest.raises(RequestError, match=message):
            resize(adapter, **options)


# Extract


@pytest.mark.parametrize(("source", "found_as"), [("lora", "lora"), ("lora", "dora-rows"), ("dora-rows", "dora-rows")])
def test_extraction_recovers_an_adapter_of_known_rank(source, found_as):
    adapter = make_adapter(source, WEIGHTS, rank=3, size=0.2)
    found, residuals = extract(tuned_by(adapter), WEIGHTS, 3, found_as)
    assert set(found.modules) == set(SOME)
    for one in residuals:
        assert np.sqrt(one.missing / one.change) < 2e-4
        weight = WEIGHTS[one.name].numpy()
        wanted = adapted(weight, adapter.modules[one.name])
        assert relative(adapted(weight, found.modules[one.name]), wanted) < 1e-3


def test_a_smaller_rank_misses_what_the_residuals_say():
    adapter = make_adapter("lora", WEIGHTS, rank=6)
    _, residuals = extract(tuned_by(adapter), WEIGHTS, 4)
    for one in residuals:
        s = np.linalg.svd(change(adapter.modules[one.name]), compute_uv=False)
        assert np.sqrt(one.missing / one.change) == pytest.approx(np.linalg.norm(s[4:]) / np.linalg.norm(s), rel=1e-3)


def test_rows_capture_a_change_of_levels_that_a_low_rank_cannot():
    levels = np.exp(0.3 * RNG.standard_normal((384, 1))).astype(np.float32)
    tuned = WEIGHTS | {LINEAR: from_array(LINEAR, levels * WEIGHTS[LINEAR].numpy())}
    (as_lora,), (as_rows,) = (extract(tuned, WEIGHTS, 2, kind)[1] for kind in ("lora", "dora-rows"))
    assert as_lora.missing > 0.5 * as_lora.change
    assert as_rows.missing < 1e-8 * as_rows.change


def test_extraction_refuses_models_that_do_not_differ_or_fit():
    with pytest.raises(MismatchError, match="agree in all layers"):
        extract(WEIGHTS, WEIGHTS, 2)
    with pytest.raises(MismatchError, match=r"model\.preprocess_conv has the shapes none and \[256, 256, 1\]"):
        extract({name: w for name, w in WEIGHTS.items() if name != CONVOLUTION}, WEIGHTS, 2)
    with pytest.raises(RequestError, match="at least 1"):
        extract(WEIGHTS, WEIGHTS, 0)


# Bake and measure


@pytest.mark.parametrize("adapter_type", ["dora-rows", "dora-rows-xs"])
def test_baked_norms_are_those_of_the_adapted_rows(adapter_type):
    adapter = make_adapter(adapter_type, WEIGHTS, base_model="sa3-sm-music")
    baked = bake(adapter, WEIGHTS, "small-music")
    for name, module in baked.modules.items():
        weight = WEIGHTS[name].numpy()
        wanted = np.linalg.norm(weight.reshape(matrix_shape(weight.shape)) + change(module), axis=1)
        assert module.tensors[BAKED].dtype == "F32"
        assert np.allclose(module.array(BAKED), wanted, rtol=1e-5)
    assert (baked.config["baked_norms"], baked.config["norm_base"]) == (3, "small-music")
    assert (baked.metadata["base_model"], baked.metadata["baked_norms"]) == ("sa3-sm-music", "3")
    assert len(baked.metadata["norm_base_sha"]) == 32
    assert baked_difference(baked, WEIGHTS) < 1e-6
    assert baked_difference(baked, make_weights(seed=3)) > 1e-2
    assert baked_difference(adapter, WEIGHTS) == 0


def test_other_types_have_no_norms_to_bake():
    with pytest.raises(RequestError, match="only dora-rows and dora-rows-xs"):
        bake(make_adapter("dora-cols", WEIGHTS), WEIGHTS, "mini")
    with pytest.raises(MismatchError, match="mini has no layer"):
        bake(make_adapter("dora-rows", WEIGHTS), {}, "mini")


@pytest.mark.parametrize("adapter_type", ["lora", "dora-cols", "bora-xs"])
def test_changes_are_measured_by_group(adapter_type):
    adapter = make_adapter(adapter_type, WEIGHTS)
    found = {one.group: one for one in measure(adapter, WEIGHTS)}
    assert set(found) == {"embeds", "self_attn", "ff", "all"}
    assert found["all"].layers == 3
    for name in SOME:
        weight = WEIGHTS[name].numpy()
        one = found[group_of(name)]
        assert one.change == pytest.approx(relative(adapted(weight, adapter.modules[name]), weight), rel=1e-3)
        size = np.linalg.norm(weight)
        assert one.added == pytest.approx(np.linalg.norm(change(adapter.modules[name])) / size, rel=1e-3)
    assert warnings_of(list(found.values())) == []


def test_a_change_larger_than_the_weights_is_reported():
    adapter = make_adapter("lora", WEIGHTS, names=(LINEAR,), size=3.0)
    assert "self_attn (" in warnings_of(measure(adapter, WEIGHTS))[0]
    weak = replace(adapter, modules={LINEAR: replace(adapter.modules[LINEAR], scale=0.1)})
    assert warnings_of(measure(weak, WEIGHTS)) == []


def test_the_package_exports_what_it_lists():
    for name in soundloom.lora.__all__:
        assert getattr(soundloom.lora, name).__name__ in (name, "read")
    with pytest.raises(AttributeError, match="no attribute 'combined'"):
        _ = soundloom.lora.combined
