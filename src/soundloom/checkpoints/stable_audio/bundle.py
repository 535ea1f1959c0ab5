"""The bundle: a folder for each component, with `model.safetensors` under the npz files' names, weights packed.

The published bundles hold 4 or 8 bit codes in groups of 64. Their manifests are not documented, so of a
`manifest.json` only `group_size` and `bits` are read, and neither is needed.
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

MANIFEST_FILE, PART_FILE = "manifest.json", "model.safetensors"
BUNDLE_BITS = {"int4": 4, "int8": 8}
DEFAULT_GROUP_SIZE = 64


def is_part(path: Path) -> bool:
    """Whether a file is named like a component of a bundle."""
    return path.name == PART_FILE and path.parent.name.startswith(("dit_", "same_", "t5gemma"))


def read_part(path: Path) -> Tensors:
    """The tensors of one component under their stored names, packed ones joined. Raises CheckpointError."""
    manifest_path = path.parent / MANIFEST_FILE
    manifest = read_json(manifest_path) if manifest_path.is_file() else {}
    group_size, bits = manifest.get("group_size"), manifest.get("bits")
    tensors = join_triplets(read_safetensors(path), str(path), group_size if isinstance(group_size, int) else None)
    for name, tensor in tensors.items():
        if isinstance(tensor, PackedTensor) and isinstance(bits, int) and tensor.bits != bits:
            raise MismatchError(
                f"{path} holds {name} in {tensor.bits} bits, its {MANIFEST_FILE} says {shown(bits)}",
                "the files belong to different bundles; fetch or convert them again",
            )
    return tensors


def write_part(folder: Path, tensors: Iterable[LazyTensor]) -> None:
    """Write one component with its manifest."""
    tensors = list(tensors)
    packed = {tensor.name: tensor for tensor in tensors if isinstance(tensor, PackedTensor)}
    bits, groups = {t.bits for t in packed.values()}, {t.group_size for t in packed.values()}
    if len(groups) > 1:
        raise ValueError(f"{folder.name}: a component has one group size, found {sorted(groups)}")
    manifest = {
        "written_by": f"soundloom {__version__}",
        "bits": bits.pop() if len(bits) == 1 else "mixed" if bits else None,
        "group_size": groups.pop() if groups else None,
        "quantized": {name.removesuffix(".weight"): tensor.bits for name, tensor in packed.items()},
    }
    write_safetensors(folder / PART_FILE, stored_parts(tensors))
    write_json(folder / MANIFEST_FILE, manifest)


def bundle_layout(tensors: Iterable[LazyTensor]) -> str:
    """What a bundle is called: int4, int8, or mixed."""
    bits = {tensor.bits for tensor in tensors if isinstance(tensor, PackedTensor)}
    return next((name for name, value in BUNDLE_BITS.items() if bits == {value}), "mixed")


def can_pack(name: str, shape: tuple[int, ...], group_size: int) -> bool:
    """Whether the published bundles would pack a tensor: a matrix of the transformer that divides into groups."""
    is_matrix = name.startswith(DIT_PREFIX) and name.endswith(".weight") and len(shape) == 2
    return is_matrix and shape[1] % group_size == 0


def require_group_size(group_size: int) -> None:
    """Raise RequestError for a group size that MLX does not have."""
    if group_size not in GROUP_SIZES:
        raise RequestError(
            f"weights cannot have groups of {group_size}", f"known are {', '.join(map(str, GROUP_SIZES))}"
        )


def pack_transformer(tensors: Tensors, bits: int, group_size: int) -> Tensors:
    """Pack what the published bundles pack. A weight that is so already keeps its codes. Raises RequestError."""
    require_group_size(group_size)

    def pack(tensor: LazyTensor) -> LazyTensor:
        same = isinstance(tensor, PackedTensor) and (tensor.bits, tensor.group_size) == (bits, group_size)
        return tensor if same else pack_tensor(tensor, bits, group_size)

    return {name: pack(t) if can_pack(name, t.shape, group_size) else t for name, t in tensors.items()}
