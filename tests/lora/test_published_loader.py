"""The published package loads the results of operations on adapters, with bases and in stacks: the same weights.

Needs its loader, `stable_audio_3.models.lora`; skipped where it is not installed. `files/test_published_package.py`
checks files of every type alone.
"""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.checkpoints.formats.tensors import from_array
from soundloom.lora.adapter import TYPES, Adapter
from soundloom.lora.arithmetic import AdapterPart, adapted_weight
from soundloom.lora.bases import write_bases
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import write_adapter
from soundloom.lora.operations.bake import bake
from soundloom.lora.operations.combine import combine_exactly, combine_for
from soundloom.lora.operations.convert import to_lora
from soundloom.lora.operations.resize import resize
from tests.lora.made import make_adapter, make_weights

torch = pytest.importorskip("torch")
loader = pytest.importorskip("stable_audio_3.models.lora.loader", reason="the published package is not installed")

WEIGHTS = make_weights()
CONDITIONER = "conditioners."


class Published(torch.nn.Module):
    """Layers at the places where the published model has them: `model.…` and `conditioner.conditioners.…`."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.conditioner = torch.nn.Module(), torch.nn.Module()
        for name, weight in WEIGHTS.items():
            root = self.conditioner if name.startswith(CONDITIONER) else self.model
            *folders, last = name.split(".")
            for folder in folders:
                if not hasattr(root, folder):
                    root.add_module(folder, torch.nn.Module())
                root = getattr(root, folder)
            root.add_module(last, layer_of(weight.numpy()))

    def weight(self, name: str) -> np.ndarray:
        root = self.conditioner if name.startswith(CONDITIONER) else self.model
        return root.get_submodule(name).weight.detach().numpy()


def layer_of(weight: np.ndarray) -> torch.nn.Module:
    outs, ins, *kernel = weight.shape
    layer = torch.nn.Conv1d(ins, outs, kernel, bias=False) if kernel else torch.nn.Linear(ins, outs, bias=False)
    layer.weight = torch.nn.Parameter(torch.from_numpy(weight.copy()), requires_grad=False)
    return layer


def load(*paths, bases=None) -> Published:
    model = Published()
    loader.load_and_apply_loras(model, [str(path) for path in paths], "diffusion_cond_inpaint", bases)
    return model


def require_same(model: Published, *adapters: Adapter, strength: float = 1.0) -> None:
    """Compare all weights with those that soundloom computes from the same files."""
    for name, weight in WEIGHTS.items():
        parts = [AdapterPart(one.modules[name], strength, "full") for one in adapters if name in one.modules]
        wanted = adapted_weight(weight.numpy(), parts)
        scale = float(np.abs(wanted).max())
        assert np.abs(model.weight(name) - wanted).max() < 2e-6 * scale, name
        assert not parts or np.abs(wanted - weight.numpy()).max() > 1e-3 * scale


@pytest.mark.parametrize("adapter_type", [one for one in TYPES if one.endswith("-xs")])
def test_its_own_singular_vectors_are_ours(tmp_path, adapter_type):
    path = tmp_path / "slim.safetensors"
    adapter = make_adapter(adapter_type, WEIGHTS, names=WEIGHTS)
    write_adapter(path, adapter, dtype="F32", slim=True)
    assert not any("U" in module.tensors for module in read_adapter(path).modules.values())
    model = load(path)
    for name, weight in WEIGHTS.items():
        wanted = adapted_weight(weight.numpy(), [AdapterPart(adapter.modules[name])])
        assert np.linalg.norm(model.weight(name) - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_a_file_of_some_layers_leaves_the_others_as_they_are(tmp_path):
    for adapter_type in TYPES:
        path = tmp_path / f"{adapter_type}.safetensors"
        write_adapter(path, make_adapter(adapter_type, WEIGHTS))
        model, adapter = load(path), read_adapter(path)
        for name in WEIGHTS:
            parts = [AdapterPart(adapter.modules[name])] if name in adapter.modules else []
            assert np.allclose(model.weight(name), adapted_weight(WEIGHTS[name].numpy(), parts), atol=1e-5)


def test_it_loads_results_of_all_operations(tmp_path):
    lora = make_adapter("lora", WEIGHTS, rank=6)
    core, rows = make_adapter("lora-xs", WEIGHTS, seed=2), make_adapter("dora-rows", WEIGHTS, seed=3)
    results = {
        "combined": combine_exactly([lora, core], [0.5, 0.8]),
        "approximate": combine_for(WEIGHTS, [lora, rows], [0.5, 0.8])[0],
        "resized": resize(lora, rank=2)[0],
        "kept": resize(lora, keep=0.7)[0],
        "converted": to_lora(core),
        "baked": bake(rows, WEIGHTS, "small-music"),
    }
    for name, adapter in results.items():
        path = tmp_path / f"{name}.safetensors"
        write_adapter(path, adapter)
        require_same(load(path), read_adapter(path))


def test_its_bases_files_and_ours_hold_the_same(tmp_path):
    write_bases(tmp_path / "ours.safetensors", WEIGHTS, 8)
    from soundloom.checkpoints.formats.safetensors import read_safetensors

    as_torch: dict[str, dict[str, object]] = {}
    for key, tensor in read_safetensors(tmp_path / "ours.safetensors").items():
        name, _, kind = key.rpartition(".")
        as_torch.setdefault(name, {})[kind] = torch.from_numpy(tensor.numpy().copy())
    torch.save(as_torch, tmp_path / "svd_bases.pt")
    path = tmp_path / "slim.safetensors"
    write_adapter(path, make_adapter("lora-xs", WEIGHTS, names=WEIGHTS), slim=True)
    from soundloom.lora.bases import with_bases

    model = load(path, bases=str(tmp_path / "svd_bases.pt"))
    require_same(model, with_bases(read_adapter(path), WEIGHTS, tmp_path / "ours.safetensors"))


def test_two_files_stack(tmp_path):
    paths = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for path, adapter_type, seed in zip(paths, ("dora-rows", "lora"), (1, 2), strict=True):
        write_adapter(path, make_adapter(adapter_type, WEIGHTS, names=WEIGHTS, seed=seed))
    require_same(load(*paths), *map(read_adapter, paths))


def test_a_changed_tensor_is_noticed(tmp_path):
    """The comparison can fail: other factors give other weights."""
    path = tmp_path / "style.safetensors"
    adapter = make_adapter("lora", WEIGHTS, names=WEIGHTS)
    write_adapter(path, adapter)
    name = next(iter(WEIGHTS))
    changed = dict(adapter.modules)
    down = 1.1 * adapter.modules[name].array("lora_A")
    changed[name] = adapter.modules[name].with_tensors(lora_A=from_array("lora_A", down.astype(np.float32)))
    with pytest.raises(AssertionError, match=name.replace(".", r"\.")):
        require_same(load(path), Adapter("changed", "lora", 3, 4.0, changed))
