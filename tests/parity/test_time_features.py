"""The golden runner computes time features of the case's own dimension, here of hand-made cases."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from soundloom.checkpoints.formats.npz import write_npz
from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.checkpoints.stable_audio.layouts import DIT_NPZ
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, dit_shapes, model_shapes
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.testing.stable_audio import tiny_config
from tests.golden import run_case

FEATURES = 48
TIMES = np.array([0.0, 0.001, 0.7], np.float32)
CALL = {
    "name": "features",
    "inputs": {"t": "in.t"},
    "outputs": {"features": "out.features"},
    "hint": {"features": 1e-3},
}


def time_features() -> np.ndarray:
    """Return the features by their formula: frequencies are log-spaced from 0.5 to 10000, in float32 as published."""
    ramp = np.linspace(0, 1, FEATURES // 2, dtype=np.float32)
    frequencies = np.exp(ramp * np.float32(np.log(20_000)) + np.float32(np.log(0.5)))
    angles = 2 * np.pi * TIMES[:, None].astype(np.float64) * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize("engine", ["torch", "mlx"])
@pytest.mark.parametrize("layout", ["published", "npz"])
def test_time_features_have_the_dimension_of_the_case(tmp_path: Path, engine: str, layout: str) -> None:
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    config = tiny_config(CATALOGUE["small-music"].parsed_config())
    assert isinstance(config, ModelConfig)
    dit = replace(config.dit, timestep_features_dim=FEATURES)
    shapes = {DIT_PREFIX + name: shape for name, shape in dit_shapes(dit).items()}
    shapes |= {name: s for name, s in model_shapes(config).items() if name.startswith(CONDITIONER_PREFIX)}
    weights = {name: from_array(name, np.ones(shape, np.float32)) for name, shape in shapes.items()}
    tensors = [from_array("in.t", TIMES), from_array("out.features", time_features())]
    if layout == "npz":
        write_npz(tmp_path / "dit_sm-music_f16.npz", list(DIT_NPZ.from_canonical(weights).values()))
        case = {"weights_file": "dit_sm-music_f16.npz", "calls": [CALL | {"fn": "mlx dit.timestep_features"}]}
    else:
        tensors += [weight.renamed(f"w.{name}") for name, weight in weights.items()]
        recorded = asdict(config.dit)
        del recorded["timestep_features_dim"]  # as in the recorded cases, only the weights tell it
        case = {"weight_key_prefix": DIT_PREFIX, "config": recorded, "calls": [CALL | {"fn": "dit.timestep_features"}]}
    write_safetensors(tmp_path / "case.safetensors", tensors)
    (tmp_path / "case.json").write_text(json.dumps(case))
    (check,) = run_case(tmp_path / "case.json", engine)
    assert check.passed, check
