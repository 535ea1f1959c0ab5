"""Load modules from a checkpoint's memory-mapped tensors, without a copy where dtypes agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.formats.packed import PackedTensor, loaded_bytes, stays_stored
from soundloom.checkpoints.formats.tensors import LazyTensor, evict
from soundloom.checkpoints.stable_audio.shapes import is_ignorable
from soundloom.engines.torch.blocks import DownProjection
from soundloom.engines.torch.fp8 import Fp8Linear
from soundloom.engines.torch.int8 import HadamardInt8Linear, Int8Linear
from soundloom.engines.torch.opaque import has_opaque_views
from soundloom.engines.torch.prepared import MIN_BYTES, PreparedWeights
from soundloom.engines.torch.quantized import PackedLinear, StoredLinear
from soundloom.engines.torch.tensors import to_tensor
from soundloom.errors import CheckpointError
from soundloom.memory import require_memory

Module = TypeVar("Module", bound=nn.Module)

# The linear layers in transformer blocks, where networks spend their time.
_IN_BLOCK = re.compile(r"(layers|transformers)\.\d+\.(self_attn|cross_attn|cross_attention|ff|linear[12])\.")


def load_module(
    build: Callable[[], Module],
    tensors: Mapping[str, LazyTensor],
    label: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep: Collection[str] = (),
    blocks: torch.dtype | Literal["int8", "fp8"] | None = None,
    as_stored: bool = False,
    prepared: PreparedWeights | None = None,
) -> Module:
    """Build a module and load the tensors, whose names and shapes must match its own.

    Parameters become `dtype`, except those in `keep`, which stay in the dtype of their file, and the linear layers of
    transformer blocks, which become `blocks` if given. If any weight is packed, or with `as_stored`, the weights of
    linear layers stay as stored. On a CPU, large modules are loaded from `prepared` if it fits, and saved there if not.
    `label` names the module in messages. Raises MismatchError for names or shapes, CheckpointError for weights that are
    not finite.
    """
    with torch.device("meta"):
        module = build()
    expected = {name: tuple(parameter.shape) for name, parameter in module.state_dict().items()}
    found = require_match({name: t for name, t in tensors.items() if not is_ignorable(name)}, expected, label)
    chosen = {name: stored.renamed(name) for name, stored in found.items()}  # stored names have the checkpoint's prefix
    special = _block_layers(module, chosen) if blocks is not None else {}
    if isinstance(blocks, str):
        _replace_block_layers(module, special, blocks)
    as_stored = as_stored or any(isinstance(stored, PackedTensor) for stored in chosen.values())
    if as_stored or not _is_preparable(chosen, device):
        prepared = None
    if prepared is not None and prepared.load(module, chosen):
        return _finished(module)
    if torch.device(device).type in ("cpu", "mps"):  # in the machine's memory; others raise on their own
        layers = _layer_weights(module) - special.keys() if as_stored else set()
        in_blocks = dict.fromkeys(special, blocks.itemsize if isinstance(blocks, torch.dtype) else 1)
        require_memory(loaded_bytes(chosen, dtype.itemsize, keep, layers, in_blocks), label)
    state = {}
    for name, lazy in chosen.items():
        stays_stored = as_stored and name not in special and _replace_layer(module, lazy, dtype)
        for part in lazy.parts if stays_stored else (lazy,):
            stored_at = tensor = to_tensor(part)
            if name not in keep:
                target = None if stays_stored else dtype
                if name in special:
                    target = torch.float32 if isinstance(blocks, str) else blocks
                tensor = tensor.to(device=device, dtype=target)
                _require_finite(tensor, part.name, label)
            state[part.name] = tensor.to(device)
            if isinstance(blocks, str) and name in special and name.endswith(".weight"):
                path = name.removesuffix(".weight")
                layer = module.get_submodule(path)
                assert isinstance(layer, (Int8Linear, Fp8Linear))
                state |= {f"{path}.{buffer}": value for buffer, value in layer.quantize(tensor).items()}
            if part.is_raw and part.nbytes and state[part.name].data_ptr() != stored_at.data_ptr():
                evict(part.buffer())  # else the file's pages stay in memory next to their copies
    module.load_state_dict(state, assign=True)
    state.clear()
    if has_opaque_views():  # else plain weights are prepared, and prepacked after each load
        _prepack(module)
    if prepared is not None and prepared.save(module, chosen):
        prepared.load(module, chosen)  # frees the copies in memory
    return _finished(module)


def _is_preparable(tensors: Mapping[str, LazyTensor], device: torch.device | str) -> bool:
    size = sum(part.nbytes for tensor in tensors.values() for part in tensor.parts)
    return torch.device(device).type == "cpu" and size >= MIN_BYTES


def _finished(module: Module) -> Module:
    _prepack(module)
    return module.eval().requires_grad_(False)


def _prepack(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, Int8Linear):
            layer.prepack()


def _replace_block_layers(module: nn.Module, layers: Mapping[str, nn.Linear], precision: str) -> None:
    for name, plain in layers.items():
        if name.endswith(".weight"):
            with torch.device("meta"):
                layer = _make_quantized(plain, precision)
            module.set_submodule(name.removesuffix(".weight"), layer)


def _make_quantized(plain: nn.Linear, precision: str) -> Int8Linear | Fp8Linear:
    """Return the layer that multiplies in "int8" or "fp8" in place of a linear layer, its weight not yet loaded."""
    sizes = (plain.in_features, plain.out_features, plain.bias is not None)
    if precision == "fp8":
        return Fp8Linear(*sizes)
    if isinstance(plain, DownProjection):
        return HadamardInt8Linear(*sizes)
    return Int8Linear(*sizes, parts=getattr(plain, "parts", 1))


def _block_layers(module: nn.Module, tensors: Mapping[str, LazyTensor]) -> dict[str, nn.Linear]:
    """Return the linear layers in transformer blocks by the names of their parameters, except packed ones."""
    paths = {name: name.rpartition(".")[0] for name in tensors if _IN_BLOCK.search(name)}
    layers = {name: module.get_submodule(path) for name, path in paths.items()}
    return {
        name: layer
        for name, layer in layers.items()
        if isinstance(layer, nn.Linear) and not isinstance(tensors[f"{paths[name]}.weight"], PackedTensor)
    }


def _layer_weights(module: nn.Module) -> set[str]:
    """Return the names of the weights of linear layers."""
    return {f"{path}.weight".lstrip(".") for path, layer in module.named_modules() if isinstance(layer, nn.Linear)}


def _replace_layer(module: nn.Module, weight: LazyTensor, dtype: torch.dtype) -> bool:
    """Replace the linear layer of a weight by one for stored weights; return False if it would save nothing."""
    path, _, parameter = weight.name.rpartition(".")
    layer = module.get_submodule(path)
    if not isinstance(layer, nn.Linear) or parameter != "weight":
        return False
    sizes = (layer.in_features, layer.out_features, layer.bias is not None, dtype)
    with torch.device("meta"):
        if isinstance(weight, PackedTensor):
            module.set_submodule(path, PackedLinear(*sizes, weight.bits, weight.group_size))
        elif stays_stored(weight):
            module.set_submodule(path, StoredLinear(*sizes))
        else:
            return False
    return True


def _finite_probes(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return values that are finite if all of the tensor's are, computed without a copy of it.

    Copies would fragment the heap between weights, by 60 MB in a packed medium model. A BF16 sum takes half the time of
    the extremes; an FP16 sum could overflow.
    """
    return (tensor.sum(),) if tensor.dtype == torch.bfloat16 else tensor.aminmax()


def _require_finite(tensor: Tensor, name: str, label: str) -> None:
    if tensor.is_floating_point() and tensor.numel() and not all(torch.isfinite(x) for x in _finite_probes(tensor)):
        raise CheckpointError(
            f"{label}: weight {name} contains values that are not finite",
            "the file is damaged or was converted wrongly; download it again",
        )
