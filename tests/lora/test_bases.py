"""Singular vectors of weights: computed, cached, read from files, and given to adapters that lack them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom.checkpoints.formats.safetensors import write_safetensors
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.errors import CorruptFileError, MismatchError, ModelNotFoundError
from soundloom.lora import bases as module
from soundloom.lora.adapter import TYPES, is_xs
from soundloom.lora.bases import (
    Bases,
    cached_bases,
    compute_bases,
    follows_sign_rule,
    read_bases,
    residual,
    training_weights,
    with_bases,
    write_bases,
)
from soundloom.lora.modules import base_weights, matrix_shape, weight_key
from tests.lora.made import SOME, change, make_adapter, make_weights

WEIGHTS = make_weights()
LINEAR = "model.transformer.layers.0.self_attn.to_qkv"
CONVOLUTION = "model.preprocess_conv"


def array_of(tensor):
    return np.asarray(tensor.numpy(), np.float32)


@pytest.mark.parametrize("name", SOME)
def test_bases_are_the_signed_singular_vectors_of_the_weight_as_a_matrix(name):
    weight = WEIGHTS[name].numpy()
    matrix = weight.reshape(matrix_shape(weight.shape)).astype(np.float64)
    u, s, v = compute_bases(weight)
    count = min(matrix.shape)
    assert (u.dtype, u.shape, s.shape, v.shape) == (
        np.float32,
        (len(matrix), count),
        (count,),
        (matrix.shape[1], count),
    )
    assert np.allclose(u * s @ v.T, matrix, atol=1e-5)
    assert np.allclose(u.T @ u, np.eye(count), atol=1e-5)
    assert np.allclose(matrix @ v, u * s, atol=1e-5)
    assert np.all(np.diff(s) <= 0)
    largest = u[np.abs(u).argmax(0), np.arange(count)]
    assert np.all(largest > 0)
    assert follows_sign_rule(u)
    assert not follows_sign_rule(-u)


def test_weights_of_low_rank_have_orthonormal_bases_too():
    rng = np.random.default_rng(2)
    weight = (rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))).astype(np.float32)
    for matrix in (weight, np.zeros_like(weight)):
        u, s, v = compute_bases(matrix, 5)
        assert (u.shape, s.shape, v.shape) == ((40, 5), (5,), (30, 5))
        assert np.allclose(u.T @ u, np.eye(5), atol=1e-5)
        assert np.allclose(v.T @ v, np.eye(5), atol=1e-5)
        assert np.allclose(u * s @ v.T, matrix, atol=1e-5)


def test_torch_computes_the_same_bases():
    torch = pytest.importorskip("torch")
    weight = WEIGHTS[LINEAR].numpy()
    u, s, vt = (part.numpy() for part in torch.linalg.svd(torch.from_numpy(weight.copy()), full_matrices=False))
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(len(s))])
    ours = compute_bases(weight)
    assert np.allclose(ours[0][:, :8], (u * signs)[:, :8], atol=1e-4)
    assert np.allclose(ours[2][:, :8], (vt.T * signs)[:, :8], atol=1e-4)


def test_bases_of_large_weights_are_cached_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_CACHED_VALUES", 1)
    first = cached_bases("a", WEIGHTS[LINEAR], 5)
    assert first.rank == 16
    files = list((tmp_path / "lora-bases").iterdir())
    assert len(files) == 1
    monkeypatch.setattr(module, "compute_bases", lambda weight: pytest.fail("computed again"))
    again = cached_bases("another name", WEIGHTS[LINEAR], 16)
    assert np.array_equal(array_of(again.u), array_of(first.u))
    monkeypatch.undo()
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_CACHED_VALUES", 1)
    files[0].write_bytes(files[0].read_bytes()[:-9])
    assert np.array_equal(array_of(cached_bases("a", WEIGHTS[LINEAR], 5).v), array_of(first.v))
    changed = WEIGHTS[LINEAR].derive(WEIGHTS[LINEAR].shape, lambda values: values * np.float32(1.001))
    cached_bases("a", changed, 5)
    assert len(list((tmp_path / "lora-bases").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(module, "_CACHED_VALUES", 1)
    assert cached_bases("a", WEIGHTS[LINEAR], 5).rank == 16


def test_a_rank_above_the_number_of_singular_vectors_is_refused():
    small = from_array("w", np.ones((4, 9), np.float32))
    with pytest.raises(MismatchError, match=r"rank 5 exceeds the 4 singular vectors of some\.layer \(4 x 9\)"):
        cached_bases("some.layer", small, 5)


def test_an_adapter_gets_bases_of_the_model_in_use_with_a_warning():
    for adapter_type in TYPES:
        adapter = make_adapter(adapter_type, WEIGHTS, own_bases=False)
        complete = with_bases(adapter, WEIGHTS)
        if not is_xs(adapter_type):
            assert complete is adapter
            continue
        expected = make_adapter(adapter_type, WEIGHTS, own_bases=True)
        for name in SOME:
            assert np.array_equal(change(complete.modules[name]), change(expected.modules[name]))
        assert ["3 layers are those of the model in use" in notice for notice in complete.notices] == [True]
        assert with_bases(complete, {}) is complete  # its own bases are enough


def test_bases_of_the_training_model_come_before_those_of_the_model_in_use():
    adapter = make_adapter("lora-xs", WEIGHTS, own_bases=False)
    other = make_weights(seed=5)
    complete = with_bases(adapter, other, training_weights=WEIGHTS)
    expected = make_adapter("lora-xs", WEIGHTS)
    assert all(np.array_equal(change(complete.modules[name]), change(expected.modules[name])) for name in SOME)
    assert complete.notices == ()


@pytest.mark.parametrize("form", ["safetensors", "torch", "torch without prefixes"])
def test_bases_files_are_read_in_all_forms(tmp_path, form):
    path = write_file(tmp_path, WEIGHTS, form)
    adapter = make_adapter("dora-rows-xs", WEIGHTS, own_bases=False)
    complete = with_bases(adapter, make_weights(seed=5) | WEIGHTS, path)
    expected = make_adapter("dora-rows-xs", WEIGHTS)
    for name in SOME:
        found, wanted = change(complete.modules[name]), change(expected.modules[name])
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert 1e-5 < error < 1e-3  # half precision
        assert complete.modules[name].tensors["U"].shape == expected.modules[name].tensors["U"].shape
    assert not any("model in use" in notice for notice in complete.notices)


def write_file(folder, weights, form):
    path = folder / "svd_bases.pt"
    if form == "safetensors":
        write_bases(path, weights, 8)
        return path
    torch = pytest.importorskip("torch")
    data = {}
    for name, weight in weights.items():
        u, s, v = (torch.from_numpy(part[..., :8].copy()) for part in compute_bases(weight.numpy()))
        key = weight_key(name) if form == "torch" else f"{name}.weight"
        data[key] = {"U": u.half(), "V": v.half(), "S": s, "shape": weight.shape}
    torch.save(data, path)
    return path


def test_layers_that_a_bases_file_lacks_compute_theirs(tmp_path):
    others = {name: weight for name, weight in WEIGHTS.items() if name != CONVOLUTION}
    path = write_file(tmp_path, others, "safetensors")
    complete = with_bases(make_adapter("lora-xs", WEIGHTS, own_bases=False), WEIGHTS, path)
    expected = make_adapter("lora-xs", WEIGHTS)
    assert np.array_equal(change(complete.modules[CONVOLUTION]), change(expected.modules[CONVOLUTION]))
    assert any("1 layer are those of the model in use" in notice for notice in complete.notices)


def test_bases_of_slightly_other_weights_are_used_as_they_are(tmp_path):
    rng = np.random.default_rng(3)
    noisy = {
        name: from_array(name, weight.numpy() + 8e-3 * rng.standard_normal(weight.shape).astype(np.float32))
        for name, weight in WEIGHTS.items()
    }
    path = write_file(tmp_path, noisy, "safetensors")
    adapter = make_adapter("lora-xs", WEIGHTS, own_bases=False)
    complete = with_bases(adapter, WEIGHTS, path)
    expected = with_bases(adapter, noisy, path)
    assert all(np.array_equal(change(complete.modules[name]), change(expected.modules[name])) for name in SOME)
    assert complete.notices == ()
    warned = with_bases(adapter, WEIGHTS, path, training_weights=WEIGHTS)
    assert any("was made from other weights" in notice for notice in warned.notices)


def test_bases_of_an_unrelated_model_are_refused(tmp_path):
    path = write_file(tmp_path, make_weights(seed=9), "safetensors")
    with pytest.raises(MismatchError, match="holds no singular vectors of this model"):
        with_bases(make_adapter("lora-xs", WEIGHTS, own_bases=False), WEIGHTS, path)


def test_bases_of_other_sizes_or_fewer_columns_are_refused(tmp_path):
    narrow = dict(WEIGHTS)
    narrow[LINEAR] = narrow[LINEAR].derive((64, 64), lambda values: values[:64, :64])
    path = write_file(tmp_path, narrow, "safetensors")
    with pytest.raises(MismatchError, match=r"are for a weight of 64 x 64, but the weight has 384 x 128"):
        with_bases(make_adapter("lora-xs", WEIGHTS, own_bases=False), WEIGHTS, path)
    path = write_file(tmp_path, WEIGHTS, "safetensors")
    with pytest.raises(MismatchError, match="have 8 columns, but the adapter has rank 9"):
        with_bases(make_adapter("lora-xs", WEIGHTS, rank=9, own_bases=False), WEIGHTS, path)


def test_flipped_signs_are_kept_and_reported(tmp_path):
    flipped = []
    for name, weight in WEIGHTS.items():
        u, s, v = compute_bases(weight.numpy())
        for kind, part in (("U", -u[:, :8]), ("S", s[:8]), ("V", -v[:, :8])):
            flipped.append(from_array(f"{weight_key(name)}.{kind}", np.ascontiguousarray(part)))
    write_safetensors(tmp_path / "flipped.safetensors", flipped)
    adapter = make_adapter("lora-xs", WEIGHTS, own_bases=False)
    complete = with_bases(adapter, WEIGHTS, tmp_path / "flipped.safetensors")
    assert any("breaks the sign rule in 3 layers" in notice for notice in complete.notices)
    assert np.all(array_of(complete.modules[LINEAR].tensors["U"]) == -compute_bases(WEIGHTS[LINEAR].numpy())[0][:, :3])


def test_damaged_and_other_files_are_refused(tmp_path):
    with pytest.raises(ModelNotFoundError, match="there is no bases file"):
        read_bases(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not a file of tensors")
    with pytest.raises(CorruptFileError):
        read_bases(tmp_path / "text.pt")
    write_safetensors(tmp_path / "weights.safetensors", [from_array("a.weight", np.ones((2, 2), np.float32))])
    with pytest.raises(MismatchError, match="holds no singular vectors"):
        read_bases(tmp_path / "weights.safetensors")
    write_safetensors(tmp_path / "half.safetensors", [from_array("a.weight.U", np.ones((2, 2), np.float32))])
    with pytest.raises(MismatchError, match=r"lacks U or V of a\.weight"):
        read_bases(tmp_path / "half.safetensors")
    parts = [
        from_array("a.weight.U", np.ones((2, 2), np.float32)),
        from_array("a.weight.V", np.ones((2, 3), np.float32)),
    ]
    write_safetensors(tmp_path / "shapes.safetensors", parts)
    with pytest.raises(MismatchError, match=r"shapes of a\.weight do not match: U \[2, 2\], V \[2, 3\]"):
        read_bases(tmp_path / "shapes.safetensors")


def test_the_residual_measures_how_well_bases_fit():
    u, s, v = (from_array("", np.ascontiguousarray(part[..., :4])) for part in compute_bases(WEIGHTS[LINEAR].numpy()))
    assert residual(Bases(u, v, s), WEIGHTS[LINEAR], 4) < 1e-5
    assert residual(Bases(u, v, None), WEIGHTS[LINEAR], 4) < 1e-5
    assert residual(Bases(u, v, s), make_weights(seed=8)[LINEAR], 4) > 0.5


def test_an_adapter_without_its_layer_in_the_model_is_refused():
    with pytest.raises(MismatchError, match=r"has no layer model\.preprocess_conv"):
        with_bases(make_adapter("lora-xs", WEIGHTS, own_bases=False), {})


def test_training_weights_are_those_of_a_base_model_or_of_the_named_one():
    from soundloom.checkpoints.stable_audio.open import open_checkpoint

    mini = open_checkpoint("mini")
    adapter = make_adapter("lora-xs", WEIGHTS, own_bases=False)
    assert training_weights(adapter, mini) is None  # post-trained, and there is no mini-base
    named = replace(adapter, config={"base_model": "mini"})
    assert training_weights(named, mini).keys() == base_weights(mini).keys()
