"""Branches equal adapted weights, for every type, strength, mode and combination."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.stable_audio.adapters import Combine, Mode
from soundloom.errors import CheckpointError
from soundloom.lora.adapter import TYPES, AdapterType
from soundloom.lora.arithmetic import AdapterPart, adapted_weight, column_norms, row_norms
from soundloom.lora.branches import LayerBranch, Term
from soundloom.lora.compile import BranchCompiler
from tests.lora.adapters import IN, OUT, make_module, make_weight

STRENGTHS = (0.02, 0.5, 1.0, 1.7, -0.5)
MODES: tuple[Mode, ...] = ("fade", "full", "linear")


def as_matrix(branch: LayerBranch, weight: np.ndarray) -> np.ndarray:
    """Return the matrix that a branch multiplies by."""
    total = np.zeros_like(weight)
    for row, col in branch.terms:
        total += weight * (1 if row is None else row[:, None]) * (1 if col is None else col)
    factors = branch.factors()
    return total if factors is None else total + factors[1] @ factors[0]


def compiled(parts: list[AdapterPart], combine: Combine = "chain", weight: np.ndarray | None = None) -> np.ndarray:
    weight = make_weight() if weight is None else weight
    branches = BranchCompiler({"model.layer": from_array("w", weight)}).compile({"model.layer": parts}, combine)
    branch = branches.layers.get("model.layer", LayerBranch((Term(),), ()))
    return as_matrix(branch, weight)


def assert_close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize(("adapter_type", "mode"), list(product(TYPES, MODES)))
def test_a_branch_equals_the_adapted_weight(adapter_type: AdapterType, mode: Mode) -> None:
    for strength, combine in product(STRENGTHS, ("chain", "sum")):
        parts = [AdapterPart(make_module(adapter_type), strength, mode)]
        assert_close(compiled(parts, combine), adapted_weight(make_weight(), parts, combine))


@pytest.mark.parametrize("combine", ["chain", "sum"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "types",
    [
        ("lora", "dora-rows", "dora-rows-xs"),
        ("dora-rows", "lora", "dora-rows"),
        ("dora-cols", "lora-xs", "dora-cols-xs"),
        ("dora-rows", "dora-cols", "lora"),
        ("bora", "dora-rows", "dora-cols"),
        ("dora-cols", "bora-xs", "lora"),
    ],
)
def test_a_stack_equals_the_adapted_weight(types: tuple[AdapterType, ...], mode: Mode, combine: Combine) -> None:
    for strengths in ((1.0, 1.0, 1.0), (0.6, -0.3, 1.4)):
        parts = [
            AdapterPart(make_module(kind, seed), strength, mode)
            for seed, (kind, strength) in enumerate(zip(types, strengths, strict=True))
        ]
        assert_close(compiled(parts, combine), adapted_weight(make_weight(), parts, combine), 2e-5)


def test_strength_zero_leaves_no_branch() -> None:
    compiler = BranchCompiler({"model.layer": from_array("w", make_weight())})
    parts = [AdapterPart(make_module(kind), 0.0) for kind in TYPES]
    assert not compiler.compile({"model.layer": parts}).layers


@pytest.mark.parametrize("adapter_type", [kind for kind in TYPES if "lora" not in kind])
def test_fading_is_continuous_at_zero(adapter_type: AdapterType) -> None:
    weight = make_weight()
    faint = compiled([AdapterPart(make_module(adapter_type), 1e-4, "fade")])
    assert np.linalg.norm(faint - weight) < 1e-3 * np.linalg.norm(weight)


def test_columns_of_bora_have_its_magnitudes() -> None:
    adapter = make_module("bora")
    assert adapter.cols is not None
    adapted = compiled([AdapterPart(adapter)])
    np.testing.assert_allclose(column_norms(adapted), np.abs(adapter.cols), rtol=1e-5)


def test_closed_form_norms_equal_streamed_ones() -> None:
    weight = from_array("w", make_weight())
    compiler = BranchCompiler({"model.layer": weight})
    parts = [AdapterPart(make_module("dora-rows", 1)), AdapterPart(make_module("dora-rows-xs", 2), 0.7)]
    branch = compiler.compile({"model.layer": parts}).layers["model.layer"]
    norms = compiler._norms["model.layer"]
    closed = norms.of_chain(branch.terms[0].row, branch.lows, of_rows=True)
    streamed, _ = norms.streamed(branch.terms, branch.lows)
    np.testing.assert_allclose(closed, streamed, rtol=1e-6)
    np.testing.assert_allclose(closed, row_norms(as_matrix(branch, weight.numpy())), rtol=1e-5)


def test_a_change_of_strength_does_not_read_the_weight_again() -> None:
    weight, reads = make_weight(), []
    lazy = from_array("w", weight).derive((OUT, IN), lambda array: reads.append(1) or array)
    compiler = BranchCompiler({"model.layer": lazy})
    adapters = [make_module("dora-rows", 1), make_module("lora", 2), make_module("dora-rows", 3)]
    compiler.compile({"model.layer": [AdapterPart(one) for one in adapters]})
    count = len(reads)
    again = compiler.compile({"model.layer": [AdapterPart(one, 0.3) for one in adapters]})
    assert len(reads) == count
    parts = [AdapterPart(one, 0.3) for one in adapters]
    assert_close(as_matrix(again.layers["model.layer"], weight), adapted_weight(weight, parts))


def test_zero_rows_stay_zero() -> None:
    weight = make_weight()
    weight[3] = 0
    adapter = make_module("dora-rows")
    up = adapter.array("lora_B").copy()
    up[3] = 0
    adapter = adapter.with_tensors(lora_B=from_array("lora_B", up))
    assert not compiled([AdapterPart(adapter)], weight=weight)[3].any()


def test_a_convolution_is_seen_as_a_matrix() -> None:
    weight = make_weight(shape=(OUT, IN // 2, 2))
    parts = [AdapterPart(make_module("bora"), 0.8)]
    found = compiled(parts, weight=weight.reshape(OUT, IN))
    assert_close(found.reshape(weight.shape), adapted_weight(weight, parts))


def test_an_adapter_that_is_not_finite_is_an_error() -> None:
    adapter = make_module("dora-rows")
    magnitude = adapter.array("magnitude").copy()
    magnitude[0] = np.inf
    with pytest.raises(CheckpointError, match="not finite"):
        compiled([AdapterPart(adapter.with_tensors(magnitude=from_array("m", magnitude)))])


@pytest.mark.parametrize("adapter_type", TYPES)
def test_one_adapter_shares_its_scales_with_the_weight(adapter_type: AdapterType) -> None:
    """Engines then need no factors of their own for each strength."""
    for strength in (1.0, 0.4):
        compiler = BranchCompiler({"model.layer": from_array("w", make_weight())})
        branches = compiler.compile({"model.layer": [AdapterPart(make_module(adapter_type), strength)]})
        assert branches.layers["model.layer"].single is not None
