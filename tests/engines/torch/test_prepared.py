"""Prepared weights: the same network from the cache file as from the checkpoint, and never a stale or damaged one."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")

from soundloom.checkpoints.stable_audio.open import open_checkpoint  # noqa: E402
from soundloom.engines.torch import load, opaque, prepared  # noqa: E402
from soundloom.engines.torch.int8 import HadamardInt8Linear, Int8Linear  # noqa: E402
from soundloom.engines.torch.precision import has_bf16, has_int8  # noqa: E402
from soundloom.engines.torch.stable_audio.engine import TorchEngine  # noqa: E402

Outputs = dict[str, np.ndarray]


@pytest.fixture
def model(tiny_model_folder, tmp_path, monkeypatch) -> Path:
    """A copy of the tiny model, whose networks are large enough to be prepared."""
    monkeypatch.setattr(load, "MIN_BYTES", 0)
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(tiny_model_folder, tmp_path / "model")


def files(model: Path) -> list[Path]:
    return sorted((model.parent / "cache" / prepared.FOLDER).glob("*"))


def outputs(model: Path, precision: str = "int8") -> Outputs:
    """Run every network of a newly loaded model."""
    engine = TorchEngine(open_checkpoint(model), "cpu", precision)
    random = np.random.default_rng(0)
    ids, mask = random.integers(1, 50, (1, 7)), np.ones((1, 7), dtype=bool)
    text = engine.encode_text(ids, mask)
    context, duration = engine.embed(text, mask, np.array([3.0], np.float32))
    condition = engine.condition(context, duration, torch.zeros(1, 257, 1))
    x = random.standard_normal((1, 256, 12), np.float32)
    audio = random.standard_normal((1, 2, 4096 * 4), np.float32)
    return {
        "text": engine.numpy(text),
        "velocity": engine.numpy(engine.velocity(engine.array(x), 0.5, condition, None)),
        "decode": engine.decode(x, None),
        "encode": engine.encode(audio, None),
    }


def assert_equal(found: Outputs, wanted: Outputs) -> None:
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def outputs_without_cache(model: Path, precision: str = "int8") -> Outputs:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "MIN_BYTES", sys.maxsize)
        return outputs(model, precision)


@pytest.fixture
def wanted(tiny_model_folder) -> Outputs:
    return outputs_without_cache(tiny_model_folder)


@pytest.fixture
def no_rounding(monkeypatch):
    """Return a function after whose call no layer can be quantized or prepacked."""

    def forbid() -> None:
        def fail(*_: object) -> None:
            raise AssertionError("a weight was prepared again")

        for cls in (Int8Linear, HadamardInt8Linear):
            monkeypatch.setattr(cls, "quantize", staticmethod(fail))
        monkeypatch.setattr(prepared, "_write", fail)

    return forbid


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_later_loads_compute_nothing_and_give_equal_outputs(
    model, tiny_model_folder, no_rounding, precision: str
) -> None:
    exact = outputs_without_cache(tiny_model_folder, precision)
    assert_equal(outputs(model, precision), exact)
    no_rounding()
    assert_equal(outputs(model, precision), exact)
    assert len(files(model)) == 4  # text, dit, encoder and decoder


@pytest.mark.skipif(not has_bf16(), reason="this processor does not multiply BF16 natively")
def test_precisions_share_the_networks_around_the_transformer(model) -> None:
    outputs(model, "int8")
    outputs(model, "bf16")
    names = sorted(path.name.rpartition("-")[0] for path in files(model))
    assert names == ["decoder-bf16", "dit-bf16", "dit-int8", "encoder-bf16", "text-bf16"]


def test_small_networks_are_not_prepared(model, monkeypatch) -> None:
    monkeypatch.setattr(load, "MIN_BYTES", prepared.MIN_BYTES)
    outputs(model)
    assert not files(model)


@pytest.mark.skipif(not (opaque.has_opaque_views() and has_int8()), reason="needs oneDNN's opaque tensors and VNNI")
def test_packed_weights_are_mapped_instead_of_copied(model) -> None:
    outputs(model)
    dit = TorchEngine(open_checkpoint(model), "cpu", "int8").module("dit")
    packed = [tensor for name, tensor in dit.named_buffers() if ".packed_" in name]
    assert packed
    assert all(tensor.is_mkldnn and isinstance(tensor.viewed, np.ndarray) for tensor in packed)


@pytest.mark.parametrize("damage", ["truncated", "header", "empty", "foreign", "key"])
def test_damaged_files_are_ignored_and_written_again(model, wanted, damage: str, monkeypatch) -> None:
    outputs(model)
    for path in files(model):
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            del content[-100:]
        elif damage == "header":
            content[20] ^= 1
        elif damage == "empty":
            content.clear()
        elif damage == "foreign":
            content[:] = b"RIFF" * 5000
        path.write_bytes(content)
    if damage == "key":
        monkeypatch.setattr(prepared, "_environment", lambda: {"torch": "another version"})
    damaged = [path.read_bytes() for path in files(model)]
    assert_equal(outputs(model), wanted)
    assert all(path.read_bytes() != before for path, before in zip(files(model), damaged, strict=True))
    assert_equal(outputs(model), wanted)


def test_changed_weights_are_noticed(model, wanted) -> None:
    outputs(model)
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4096:] = np.full(1024, 0.01, np.float32).tobytes()
    weights.write_bytes(content)
    changed = outputs(model)
    assert any(not np.array_equal(changed[name], wanted[name]) for name in wanted)
    assert_equal(outputs(model), changed)


def test_files_of_deleted_models_are_removed(model, tmp_path) -> None:
    outputs(model)
    old = files(model)
    moved = model.rename(tmp_path / "moved")
    outputs(moved)
    assert not any(path.exists() for path in old)
    assert len(files(moved)) == 4


def test_an_unwritable_cache_is_logged_and_harmless(model, wanted, monkeypatch, caplog) -> None:
    blocked = model.parent / "blocked"
    blocked.write_text("a file where a folder is needed")
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(blocked))
    with caplog.at_level(logging.INFO, logger="soundloom"):
        assert_equal(outputs(model), wanted)
    assert "prepared weights are not kept" in caplog.text


def test_without_opaque_views_plain_weights_are_stored_and_prepacked_at_load(model, wanted, monkeypatch) -> None:
    for module in (load, prepared):
        monkeypatch.setattr(module, "has_opaque_views", lambda: False)
    prepared._environment.cache_clear()
    for _ in range(2):
        assert_equal(outputs(model), wanted)
    prepared._environment.cache_clear()
    header, *_ = prepared._read(next(path for path in files(model) if path.name.startswith("dit")))
    assert not header["layouts"]


def test_two_processes_may_prepare_at_once(model, wanted) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path; from soundloom.engines.torch import load;"
        "load.MIN_BYTES = 0; from tests.engines.torch.test_prepared import outputs; found = outputs(Path(sys.argv[1]));"
        "np.savez(sys.argv[2], **found)"
    )
    saved = [model.parent / f"{name}.npz" for name in "ab"]
    running = [subprocess.Popen([sys.executable, "-c", script, str(model), str(path)]) for path in saved]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    for path in saved:
        with np.load(path) as found:
            assert_equal(dict(found), wanted)
    assert_equal(outputs(model), wanted)
    assert len(files(model)) == 4, "no temporary file is left"
