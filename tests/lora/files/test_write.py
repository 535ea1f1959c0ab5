"""Writing adapters: what is written reads equal, and other programs find one rank and one scale."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import MismatchError, RequestError
from soundloom.lora.adapter import TYPES, Adapter, ModuleAdapter
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import write_adapter
from tests.lora.files.make import GOLDEN, SHAPES, arrays, assert_equal, make_adapter, make_tensors


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])


@pytest.mark.parametrize("adapter_type", TYPES)
@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_what_is_written_reads_equal(tmp_path, adapter_type, dtype):
    adapter = make_adapter(adapter_type, bases=True)
    write_adapter(tmp_path / "a.safetensors", adapter, dtype=dtype)
    assert_equal(read_adapter(tmp_path / "a.safetensors"), adapter)
    tensors = header(tmp_path / "a.safetensors")
    tensors.pop("__metadata__")
    assert {entry["dtype"] for entry in tensors.values()} == {dtype}
    assert all(".parametrizations.weight.0." in name for name in tensors)


@pytest.mark.parametrize("name", ["part", "part_baked", "part_labelled", "part_xs_own_bases", "bora-xs", "filtered"])
def test_recorded_adapters_survive_reading_and_writing(tmp_path, name):
    adapter = read_adapter(GOLDEN / f"{name}.safetensors")
    write_adapter(tmp_path / "a.safetensors", adapter)
    found = read_adapter(tmp_path / "a.safetensors")
    assert_equal(found, adapter)
    assert {**found.config, "soundloom": None} == {**adapter.config, "soundloom": None}
    assert found.metadata == adapter.metadata
    assert found.config["soundloom"]


def test_baked_norms_stay_in_single_precision(tmp_path):
    write_adapter(tmp_path / "a.safetensors", read_adapter(GOLDEN / "part_baked.safetensors"))
    tensors = header(tmp_path / "a.safetensors")
    assert {entry["dtype"] for name, entry in tensors.items() if name.endswith("baked_vnorm_row")} == {"F32"}


def test_slim_files_lack_the_bases(tmp_path):
    write_adapter(tmp_path / "a.safetensors", make_adapter("lora-xs", bases=True), slim=True)
    found = read_adapter(tmp_path / "a.safetensors")
    assert all(module.tensors.keys() == {"M_xs"} for module in found.modules.values())


def changes(adapter):
    """Return the changes of the weights."""
    return {name: m.scale * (m.factors()[1] @ m.factors()[0]) for name, m in adapter.modules.items()}


@pytest.mark.parametrize("adapter_type", ["lora", "dora-cols", "bora-xs"])
def test_layers_of_other_ranks_and_scales_are_written_with_one(tmp_path, adapter_type):
    adapter = make_adapter(adapter_type, bases=True, alpha=6.0)
    name, other = list(SHAPES)[2:4]
    small = make_tensors(adapter_type, rank=1, bases=True, seed=1)[name]
    modules = {
        **adapter.modules,
        name: ModuleAdapter(name, adapter_type, 1, 0.5, {kind: from_array(kind, a) for kind, a in small.items()}),
        other: ModuleAdapter(other, adapter_type, 3, 3.0, adapter.modules[other].tensors),
    }
    mixed = Adapter("mixed", adapter_type, 3, 6.0, modules)
    write_adapter(tmp_path / "a.safetensors", mixed, dtype="F32")
    found = read_adapter(tmp_path / "a.safetensors")
    assert {(module.rank, module.scale) for module in found.modules.values()} == {(3, 2.0)} and not found.notices
    expected, got = changes(mixed), changes(found)
    assert all(np.allclose(got[layer], expected[layer], rtol=1e-6, atol=1e-6) for layer in expected)
    write_adapter(tmp_path / "b.safetensors", mixed, dtype="F32", uniform=False)
    found = read_adapter(tmp_path / "b.safetensors")
    assert found.modules[name].rank == 1
    assert all(np.allclose(array, expected[layer], rtol=1e-6, atol=1e-6) for layer, array in changes(found).items())


def test_alpha_is_written_as_it_was_read(tmp_path):
    adapter = read_adapter(GOLDEN / "part_lora.safetensors")
    write_adapter(tmp_path / "a.safetensors", adapter)
    config = json.loads(header(tmp_path / "a.safetensors")["__metadata__"]["lora_config"])
    assert config["alpha"] == 6.928203230275509 and config["rank"] == 3


def test_values_that_the_dtype_cannot_hold_are_rejected(tmp_path):
    adapter = make_adapter("lora", dtype=np.float32)
    name = "model.preprocess_conv"

    def with_value(value):
        tensor = from_array("lora_A", np.full((3, 8), value, np.float32))
        return Adapter(
            "hot", "lora", 3, 6.0, {**adapter.modules, name: adapter.modules[name].with_tensors(lora_A=tensor)}
        )

    with pytest.raises(MismatchError, match=r"lora_A of model\.preprocess_conv in hot is too large for F16") as caught:
        write_adapter(tmp_path / "a.safetensors", with_value(1e6))
    assert "F32" in caught.value.hint
    with pytest.raises(MismatchError, match="not finite"):
        write_adapter(tmp_path / "a.safetensors", with_value(np.nan))
    assert not list(tmp_path.iterdir())
    write_adapter(tmp_path / "a.safetensors", with_value(1e6), dtype="F32")
    assert read_adapter(tmp_path / "a.safetensors").modules[name].array("lora_A")[0, 0] == 1e6


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_adapter(path, make_adapter("lora"))
    before = path.read_bytes()
    bad = make_adapter("dora-rows")

    def interrupt(tensor):
        raise KeyboardInterrupt

    monkeypatch.setattr("soundloom.checkpoints.formats.tensors.LazyTensor.data", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_adapter(path, bad)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_adapter_may_replace_its_own_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_adapter(path, make_adapter("bora"))
    first = arrays(read_adapter(path))
    write_adapter(path, read_adapter(path), dtype="F32")
    assert all(np.array_equal(array, first[key]) for key, array in arrays(read_adapter(path)).items())


def test_other_dtypes_and_empty_adapters_are_rejected(tmp_path):
    with pytest.raises(RequestError, match="not written in I8"):
        write_adapter(tmp_path / "a.safetensors", make_adapter(), dtype="I8")
    with pytest.raises(MismatchError, match="nothing to write"):
        write_adapter(tmp_path / "a.safetensors", Adapter("none", "lora", 3, 3.0, {}))
