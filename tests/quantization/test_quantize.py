"""Bits policies, and the sizes and distances of quantized models."""

import math
from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.engines.registry import engine_class
from soundloom.pipeline.stable_audio.model import Model
from soundloom.quantization.policy import candidates, measure_sensitivity, mixed_bits, uniform_bits
from soundloom.quantization.quantize import QuantizationConfig, quantize_model
from soundloom.quantization.report import measure_distances, model_sizes
from soundloom.quantization.trajectory import TIMES, Trajectory
from soundloom.testing.stable_audio import make_random

BLOCK = f"{DIT_PREFIX}transformer.layers."
MIDDLE = ("self_attn.to_qkv", "self_attn.to_out", "ff.ff.2")


def on_engine(checkpoint):
    return Model(checkpoint, engine_class("auto")(checkpoint, None, "fp32"), keep_loaded=True)


@pytest.fixture(scope="module")
def full(tiny_model_folder):
    return open_checkpoint(tiny_model_folder)


@pytest.fixture(scope="module")
def trajectory(full):
    return Trajectory.record(on_engine(full), 1.0, ["rain", "a bell"])


def stack(blocks):
    """Return the matrices of a transformer; only names and shapes matter."""
    names = ["to_cond_embed.0", "to_timestep_embed.0", "transformer.project_in", "transformer.global_cond_embedder.2"]
    for block in range(blocks):
        layers = ("self_attn.to_qkv", "self_attn.to_out", "ff.ff.2", "to_local_embed.2")
        names += [f"transformer.layers.{block}.{layer}" for layer in layers]
    weight = np.zeros((4, 64), np.float32)
    return {name: from_array(name, weight) for name in (f"{DIT_PREFIX}{name}.weight" for name in names)}


def test_uniform_bits_cover_matrices_that_divide_into_groups(full):
    bits = uniform_bits(full.tensors, 4, 64)
    assert f"{BLOCK}0.self_attn.to_qkv.weight" in bits
    assert f"{BLOCK}0.to_local_embed.0.weight" not in bits  # 257 inputs
    assert set(bits.values()) == {4}


def test_mixed_bits_spare_layers_that_reach_every_block():
    tensors = stack(4)
    names = candidates(tensors, 64)
    assert names == [f"{BLOCK}{b}.{layer}.weight" for b in (1, 2) for layer in MIDDLE]
    sensitivity = {name: float(rank) for rank, name in enumerate(names)}  # ascending
    bits = {name.removeprefix(DIT_PREFIX): value for name, value in mixed_bits(tensors, 64, sensitivity).items()}
    assert "to_timestep_embed.0.weight" not in bits
    assert "transformer.project_in.weight" not in bits
    assert "transformer.global_cond_embedder.2.weight" not in bits
    assert bits["to_cond_embed.0.weight"] == bits["transformer.layers.1.to_local_embed.2.weight"] == 8
    assert {bits[f"transformer.layers.{block}.ff.ff.2.weight"] for block in (0, 3)} == {8}
    # A quarter of six layers allows one.
    assert [name for name in names if bits[name.removeprefix(DIT_PREFIX)] == 8] == [names[-1]]


def test_zero_layers_are_not_sensitive(tiny_model_folder, tmp_path):
    folder = make_random(_deeper(open_checkpoint(tiny_model_folder).config), tmp_path, size="full")
    checkpoint = open_checkpoint(folder)
    silent = f"{BLOCK}1.ff.ff.2.weight"
    zero = from_array(silent, np.zeros(checkpoint.tensors[silent].shape, np.float32))
    checkpoint = replace(checkpoint, tensors={**checkpoint.tensors, silent: zero})
    trajectory = Trajectory.record(on_engine(checkpoint), 0.5, ["rain"])
    calls = []
    found = measure_sensitivity(
        checkpoint,
        candidates(checkpoint.tensors, 64),
        64,
        lambda packed: trajectory.error(on_engine(packed).engine),
        lambda event: calls.append((event.step, event.steps)),
    )
    assert found[silent] == pytest.approx(0, abs=1e-12)
    assert found[f"{BLOCK}1.ff.ff.0.proj.weight"] < found[f"{BLOCK}1.self_attn.to_qkv.weight"]
    assert calls[-1] == (len(found), len(found))


def _deeper(config):
    """Return the tiny model with three blocks, so that one is neither first nor last."""
    diffusion = replace(config.model.diffusion, config=replace(config.dit, depth=3))
    return replace(config, model=replace(config.model, diffusion=diffusion))


def test_a_model_has_no_distance_from_itself(full, trajectory):
    model = on_engine(full)
    distances = measure_distances(model, model, trajectory)
    assert list(distances.cosines) == list(TIMES)
    assert all(cosine == pytest.approx(1) for cosine in distances.cosines.values())
    assert math.isinf(distances.first_step_snr)
    assert distances.log_mel == 0


def test_sizes_are_those_of_files_and_memory(full):
    found = model_sizes(on_engine(full))
    assert set(found) == {"text", "conditioner", "dit", "encoder", "decoder"}
    assert found["dit"].disk == found["dit"].memory == sum(t.nbytes for t in full.component(DIT_PREFIX).values())


@pytest.mark.parametrize("more", ["8", "mixed"])
def test_more_bits_give_smaller_distances_and_larger_files(full, tmp_path, more):
    four, other = (quantize_model(full, tmp_path / bits, QuantizationConfig(bits), on_engine) for bits in ("4", more))
    assert other.distances.first_step_snr > four.distances.first_step_snr > 10
    assert other.distances.log_mel < four.distances.log_mel
    assert min(other.distances.cosines.values()) > min(four.distances.cosines.values()) > 0.9
    assert four.after["dit"].disk < other.after["dit"].disk < four.before["dit"].disk
    assert four.after["dit"].memory < other.after["dit"].memory < four.before["dit"].memory
    assert four.after["decoder"] == four.before["decoder"]


def test_mixed_bundles_have_the_bits_of_the_policy(full, tmp_path):
    quantize_model(full, tmp_path / "out", QuantizationConfig("mixed", 32), on_engine)
    tensors = open_checkpoint(tmp_path / "out").tensors
    bits = {tensor.bits for tensor in tensors.values() if isinstance(tensor, PackedTensor)}
    assert bits == {8}  # both blocks of the tiny model are first or last
    assert not isinstance(tensors[f"{DIT_PREFIX}transformer.project_out.weight"], PackedTensor)
