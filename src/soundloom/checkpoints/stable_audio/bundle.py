"""Read and write quantized bundles: a folder per component with `model.safetensors`, named like the npz files.

The published bundles have 4 or 8 bits and groups of 64. Their manifests are undocumented, so only `group_size` and
`bits` of a `manifest.json` are read, and both are optional.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from soundloom.atomic import write_json
from soundloom.checkpoints.formats.affine import GROUP_SIZES
from soundloom.checkpoints.formats.packed import PackedTensor, join_triplets, pack_tensor, stored_parts
from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import LazyTensor, Tensors
from soundloom.checkpoints.stable_audio.shapes import DIT_PREFIX
from soundloom.errors import MismatchError, RequestError, shown
from soundloom.untrusted.json import read_json
from soundloom.version import __version__

MANIFEST_FILE, COMPONENT_FILE = "manifest.json", "model.safetensors"
BUNDLE_BITS = {"int4": 4, "int8": 8}
DEFAULT_GROUP_SIZE = 64


def is_bundle_component(path: Path) -> bool:
    """Whether a file has the name of a bundle component."""
    return path.name == COMPONENT_FILE and path.parent.name.startswith(("dit_", "same_", "t5gemma"))


def read_bundle_component(path: Path) -> Tensors:
    """Read one component with stored names, and combine packed tensors. Raises CheckpointError."""
    manifest_path = path.parent / MANIFEST_FILE
    manifest = read_json(manifest_path) if manifest_path.is_file() else {}
    group_size, bits = manifest.get("group_size"), manifest.get("bits")
    tensors = join_triplets(read_safetensors(path), str(path), group_size if isinstance(group_size, int) else None)
    for name, tensor in tensors.items():
        if isinstance(tensor, PackedTensor) and isinstance(bits, int) and tensor.bits != bits:
            raise MismatchError(
                f"{path} holds {name} in {tensor.bits} bits, but its {MANIFEST_FILE} says {shown(bits)}",
                "the files belong to different bundles; download or convert them again",
            )
    return tensors


def write_bundle_component(folder: Path, tensors: Iterable[LazyTensor]) -> None:
    """Write one component with its manifest."""
    tensors = list(tensors)
    packed = {tensor.name: tensor for tensor in tensors if isinstance(tensor, PackedTensor)}
    bits, groups = {t.bits for t in packed.values()}, {t.group_size for t in packed.values()}
    if len(groups) > 1:
        raise ValueError(f"{folder.name}: a component must have one group size, found {sorted(groups)}")
    manifest = {
        "written_by": f"soundloom {__version__}",
        "bits": bits.pop() if len(bits) == 1 else "mixed" if bits else None,
        "group_size": groups.pop() if groups else None,
        "quantized": {name.removesuffix(".weight"): tensor.bits for name, tensor in packed.items()},
    }
    write_safetensors(folder / COMPONENT_FILE, stored_parts(tensors))
    write_json(folder / MANIFEST_FILE, manifest)


def bundle_layout(tensors: Iterable[LazyTensor]) -> str:
    """Return the layout name of a bundle: int4, int8 or mixed."""
    bits = {tensor.bits for tensor in tensors if isinstance(tensor, PackedTensor)}
    return next((name for name, value in BUNDLE_BITS.items() if bits == {value}), "mixed")


def can_pack(name: str, shape: tuple[int, ...], group_size: int) -> bool:
    """Whether the published bundles pack a tensor: a transformer matrix whose inputs divide into groups."""
    is_matrix = name.startswith(DIT_PREFIX) and name.endswith(".weight") and len(shape) == 2
    return is_matrix and shape[1] % group_size == 0


def require_group_size(group_size: int) -> None:
    """Raise RequestError for a group size that MLX does not support."""
    if group_size not in GROUP_SIZES:
        raise RequestError(f"the group size cannot be {group_size}", f"use {', '.join(map(str, GROUP_SIZES))}")


def pack_transformer(tensors: Tensors, bits: int, group_size: int) -> Tensors:
    """Quantize what the published bundles pack; weights that are already packed so stay. Raises RequestError."""
    require_group_size(group_size)

    def pack(tensor: LazyTensor) -> LazyTensor:
        same = isinstance(tensor, PackedTensor) and (tensor.bits, tensor.group_size) == (bits, group_size)
        return tensor if same else pack_tensor(tensor, bits, group_size)

    return {name: pack(t) if can_pack(name, t.shape, group_size) else t for name, t in tensors.items()}
