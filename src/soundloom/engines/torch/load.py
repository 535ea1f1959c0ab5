"""Weights from a checkpoint's memory-mapped tensors into modules, without a second copy where dtypes agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from soundloom.checkpoints.compare import require_match
from soundloom.checkpoints.formats.packed import PackedTensor, bytes_loaded, stays_stored
from soundloom.checkpoints.formats.tensors import LazyTensor, evict
from soundloom.checkpoints.stable_audio.shapes import is_ignorable
from soundloom.engines.torch.fp8 import Fp8Linear
from soundloom.engines.torch.int8 import Int8Linear
from soundloom.engines.torch.quantized import PackedLinear, StoredLinear
from soundloom.errors import CheckpointError
from soundloom.memory import require_memory

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U32": torch.uint32,
    "U8": torch.uint8,
}
Module = TypeVar("Module", bound=nn.Module)

ROUNDED: dict[str, type[Int8Linear] | type[Fp8Linear]] = {"int8": Int8Linear, "fp8": Fp8Linear}

# Where a network spends its time: the products in the blocks of its transformer.
_IN_BLOCK = re.compile(r"(layers|transformers)\.\d+\.(self_attn|cross_attn|cross_attention|ff|linear[12])\.")


def load_module(
    build: Callable[[], Module],
    tensors: Mapping[str, LazyTensor],
    what: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep: Collection[str] = (),
    blocks: torch.dtype | Literal["int8", "fp8"] | None = None,
    as_stored: bool = False,
) -> Module:
    """Build a module and give it the tensors, whose names and shapes must be exactly its own.

    Parameters become `dtype`, except those named in `keep`, which keep the dtype of their file, and the linear layers
    of transformer blocks, which become `blocks` if given. Where some weights are packed, or with `as_stored`, linear
    layers keep theirs as stored. `what` names the module in messages. Raises MismatchError for names or shapes,
    CheckpointError for weights that are not finite.
    """
    with torch.device("meta"):
        module = build()
    wanted = {name: tuple(parameter.shape) for name, parameter in module.state_dict().items()}
    chosen = require_match({name: t for name, t in tensors.items() if not is_ignorable(name)}, wanted, what)
    rounded = ROUNDED[blocks] if isinstance(blocks, str) else None
    special = _block_layers(module, chosen) if blocks is not None else {}
    as_stored = as_stored or any(isinstance(stored, PackedTensor) for stored in chosen.values())
    if torch.device(device).type in ("cpu", "mps"):  # which share the machine's memory; others say what they lack
        layers = _layer_weights(module) - special.keys() if as_stored else set()
        in_blocks = dict.fromkeys(special, blocks.itemsize if isinstance(blocks, torch.dtype) else 1)
        require_memory(bytes_loaded(chosen, dtype.itemsize, keep, layers, in_blocks), what)
    state = {}
    for name, stored in chosen.items():
        lazy = stored.renamed(name)  # its own name has the checkpoint's prefix
        stays = as_stored and name not in special and _make_room(module, lazy, dtype)
        for part in lazy.parts if stays else (lazy,):
            stored_at = tensor = to_tensor(part)
            if name not in keep:
                target = None if stays else dtype
                if name in special:
                    target = torch.float32 if isinstance(blocks, str) else blocks
                tensor = tensor.to(device=device, dtype=target)
                _require_finite(tensor, part.name, what)
            state[part.name] = tensor.to(device)
            if rounded is not None and name in special and name.endswith(".weight"):
                path, plain = name.removesuffix(".weight"), special[name]
                with torch.device("meta"):
                    module.set_submodule(path, rounded(plain.in_features, plain.out_features, plain.bias is not None))
                state |= {f"{path}.{kind}": value for kind, value in rounded.rounded(tensor).items()}
            if part.is_raw and part.nbytes and state[part.name].data_ptr() != stored_at.data_ptr():
                evict(part.buffer())  # else the file's bytes stay in memory beside their copies
    module.load_state_dict(state, assign=True)
    state.clear()
    for layer in module.modules():
        if isinstance(layer, Int8Linear):
            layer.pack()
    return module.eval().requires_grad_(False)


def _block_layers(module: nn.Module, tensors: Mapping[str, LazyTensor]) -> dict[str, nn.Linear]:
    """Return the linear layers in transformer blocks, by the names of their parameters; packed ones left out."""
    paths = {name: name.rpartition(".")[0] for name in tensors if _IN_BLOCK.search(name)}
    layers = {name: module.get_submodule(path) for name, path in paths.items()}
    return {
        name: layer
        for name, layer in layers.items()
        if isinstance(layer, nn.Linear) and not isinstance(tensors[f"{paths[name]}.weight"], PackedTensor)
    }


def _layer_weights(module: nn.Module) -> set[str]:
    """Return the names of the weights that linear layers multiply by."""
    return {f"{path}.weight".lstrip(".") for path, layer in module.named_modules() if isinstance(layer, nn.Linear)}


def _make_room(module: nn.Module, weight: LazyTensor, dtype: torch.dtype) -> bool:
    """Put a layer that keeps its weight as stored in the place of a linear one; False where there is none to gain."""
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


def to_tensor(lazy: LazyTensor) -> Tensor:
    """View a stored tensor's bytes; only derived or oddly placed ones are copied."""
    if lazy.is_raw and lazy.nbytes:
        return torch.frombuffer(lazy.buffer(), dtype=DTYPES[lazy.dtype]).view(lazy.shape)
    return torch.from_numpy(lazy.numpy().copy())


def _witnesses(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return values that are finite if all of a tensor are, made without a copy of it.

    The holes that copies leave in the heap between weights had added up to 60 MB in a packed medium model. A sum of
    BF16 needs none, takes half the time of extremes, and has room that sums of FP16 lack.
    """
    return (tensor.sum(),) if tensor.dtype == torch.bfloat16 else tensor.aminmax()


def _require_finite(tensor: Tensor, name: str, what: str) -> None:
    if tensor.is_floating_point() and tensor.numel() and not all(torch.isfinite(x) for x in _witnesses(tensor)):
        raise CheckpointError(
            f"{what}: weight {name} holds values that are not finite",
            "the file is damaged or was converted wrongly; fetch it again",
        )
