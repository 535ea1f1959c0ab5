"""Singular vectors of base weights, between which the -xs types train their cores.

U (out, r) and V (in, r) are the first left and right singular vectors of a weight seen as a matrix W (out, in). They
must be those used in training, so the bases of an adapter come from, in this order: its own file, a bases file, the
model that it was trained on, the model in use. A bases file holds U, V and the singular values S of each layer under
the weight's name in full checkpoints, as a `torch.save` dictionary or as the tensors NAME.U, NAME.V, NAME.S of a
safetensors file. Source: stable-audio-3, its XS parametrizations and bases files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from soundloom.checkpoints.formats.packed import PackedTensor
from soundloom.checkpoints.formats.pickle import read_pickle
from soundloom.checkpoints.formats.safetensors import read_safetensors, write_safetensors
from soundloom.checkpoints.formats.tensors import Array, LazyTensor, evict_tensor, from_array
from soundloom.checkpoints.installed import installed_layouts
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX
from soundloom.config.catalogue import find_entry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import CheckpointError, MismatchError, ModelNotFoundError, WriteError, shown
from soundloom.folders import cache_folder, expanded
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.modules import CONDITIONER, TRANSFORMER, base_weights, matrix_shape, weight_key
from soundloom.lora.parallel import map_parallel
from soundloom.version import __version__

DEFAULT_RANK = 64  # columns of a bases file
_CACHE = "lora-bases"
_CACHE_STEP = 16  # columns; cached ranks are multiples of it
_CACHED_VALUES = 1 << 18  # the SVD of a smaller weight is faster than the cache
# Relative residuals: half precision causes 5e-4, training on from the base model a few hundredths, another model 1.
_EXACT, _SIMILAR, _UNRELATED = 5e-3, 0.1, 0.5
_TINY = 1e-5  # singular values relative to the largest, whose squares float64 still resolves
_HALF_STEP = 2.0**-10  # relative; values this close may change order in half precision
_KINDS = ("U", "V", "S")


@dataclass(frozen=True)
class Bases:
    """The first r singular vectors and values of a weight; `s` is None if the file has none."""

    u: LazyTensor
    v: LazyTensor
    s: LazyTensor | None

    @property
    def rank(self) -> int:
        return self.u.shape[1]


def compute_bases(weight: Array, rank: int | None = None) -> tuple[Array, Array, Array]:
    """Return U (out, r), S (r,) and V (in, r) of a weight, float32, for the first `rank` singular vectors, or all.

    The entry of largest size in each column of U is positive. The eigenvectors of the smaller of W'W and WW' in
    float64 are several times faster than a singular value decomposition in float32, and more accurate; weights with
    tiny singular values need the latter.
    """
    matrix = np.asarray(weight, np.float32).reshape(weight.shape[0], -1)
    count = min(*matrix.shape, matrix.size if rank is None else rank)
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix.T.astype(np.float64) if wide else matrix.astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x)  # ascending
    squares, v = values[::-1][:count], vectors[:, ::-1][:, :count]
    if squares[-1] > _TINY**2 * squares[0]:
        s = np.sqrt(squares)
        u = x @ v / s
        u, v = (v, u) if wide else (u, v)
    else:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        u, s, v = u[:, :count], s[:count], vt.T[:, :count]
    signs = np.where(u[np.abs(u).argmax(0), np.arange(count)] < 0, -1.0, 1.0)
    return (u * signs).astype(np.float32), s.astype(np.float32), (v * signs).astype(np.float32)


def require_rank(name: str, rank: int, shape: tuple[int, ...]) -> None:
    """Raise MismatchError if a weight has fewer singular vectors than `rank`."""
    if rank > min(matrix_shape(shape)):
        size = " x ".join(map(str, matrix_shape(shape)))
        raise MismatchError(f"rank {rank} exceeds the {min(matrix_shape(shape))} singular vectors of {name} ({size})")


# Cache


def cached_bases(name: str, weight: LazyTensor, rank: int) -> Bases:
    """Return bases of a layer's weight with at least `rank` columns, from the cache folder if it has them."""
    require_rank(name, rank, weight.shape)
    columns = min(-(-rank // _CACHE_STEP) * _CACHE_STEP, *matrix_shape(weight.shape))
    if np.prod(weight.shape) < _CACHED_VALUES:
        return _computed(weight, columns)
    path = cache_folder() / _CACHE / f"{_content_hash(weight)}-{columns}.safetensors"
    with suppress(OSError, CheckpointError):
        stored = read_safetensors(path)
        bases = Bases(stored["U"], stored["V"], stored["S"])
        if (bases.u.shape, bases.v.shape) == tuple((size, columns) for size in matrix_shape(weight.shape)):
            return bases
    bases = _computed(weight, columns)
    with suppress(OSError, WriteError):  # a cache that cannot be written only costs time
        write_safetensors(path, [bases.u, bases.v, *([bases.s] if bases.s else ())])
    return bases


def _computed(weight: LazyTensor, columns: int) -> Bases:
    u, s, v = compute_bases(weight.numpy(), columns)
    parts = zip(_KINDS, (u, v, s), strict=True)
    return Bases(*(from_array(kind, np.ascontiguousarray(values)) for kind, values in parts))


def _content_hash(weight: LazyTensor) -> str:
    digest = hashlib.sha256()
    for part in weight.parts:
        digest.update(f"{part.dtype} {part.shape}\n".encode())
        digest.update(part.data().data)
    return digest.hexdigest()[:32]


# Files


def read_bases(path: str | Path) -> dict[str, Bases]:
    """Read a bases file; the keys are names of layers as in adapter files. Raises CheckpointError."""
    path = expanded(path)
    if not path.is_file():
        raise ModelNotFoundError(f"there is no bases file {path}", "write one with `soundloom lora bases`")
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    entries = _pickled(path) if is_zip else _stored(path)
    if not entries:
        raise MismatchError(f"{path} holds no singular vectors", "it is not a bases file")
    return {_module_name(key): _checked(path, key, entry) for key, entry in entries.items()}


def _pickled(path: Path) -> dict[str, Mapping[Any, Any]]:
    data = read_pickle(path)
    items = data.items() if isinstance(data, dict) else ()
    return {key: entry for key, entry in items if isinstance(key, str) and isinstance(entry, dict) and "U" in entry}


def _stored(path: Path) -> dict[str, Mapping[Any, Any]]:
    entries: dict[str, dict[str, LazyTensor]] = {}
    for name, tensor in read_safetensors(path).items():
        key, _, kind = name.rpartition(".")
        if kind in _KINDS:
            entries.setdefault(key, {})[kind] = tensor
    return {key: entry for key, entry in entries.items() if "U" in entry}


def _checked(path: Path, key: str, entry: Mapping[Any, Any]) -> Bases:
    u, v, s = (entry.get(kind) for kind in _KINDS)
    if not (isinstance(u, LazyTensor) and isinstance(v, LazyTensor) and (s is None or isinstance(s, LazyTensor))):
        raise MismatchError(f"{path} lacks U or V of {shown(key)}", "write the bases file again")
    found = (u.shape, v.shape, *([s.shape] if s else ()))
    if len(u.shape) != 2 or len(v.shape) != 2 or u.shape[1] != v.shape[1] or (s and s.shape != u.shape[1:]):
        shapes = ", ".join(f"{kind} {list(shape)}" for kind, shape in zip(_KINDS, found, strict=False))
        raise MismatchError(f"{path}: the shapes of {shown(key)} do not match: {shapes}", "write the bases file again")
    return Bases(u, v, s)


def _module_name(key: str) -> str:
    """Return the name in adapter files of a key, which may lack the prefix of its component."""
    name = key.removesuffix(".weight")
    for full, prefix in ((DIT_PREFIX, TRANSFORMER), (CONDITIONER_PREFIX, CONDITIONER)):
        if name.startswith((full, prefix)):
            return prefix + name.removeprefix(full).removeprefix(prefix)
    return TRANSFORMER + name


def write_bases(
    path: Path,
    weights: Mapping[str, LazyTensor],
    rank: int = DEFAULT_RANK,
    dtype: str = "F16",
    progress: Callable[[str], None] = lambda name: None,
) -> None:
    """Write bases of all weights with at most `rank` columns; `progress` gets the name of each layer."""

    def compute(name: str) -> list[LazyTensor]:
        progress(name)
        weight, key = weights[name], weight_key(name)
        columns = min(rank, *matrix_shape(weight.shape))
        bases = cached_bases(name, weight, columns)
        evict_tensor(weight)
        factors = [_columns(part, columns).renamed(f"{key}.{kind}") for kind, part in (("U", bases.u), ("V", bases.v))]
        values = [] if bases.s is None else [_columns(bases.s, columns).renamed(f"{key}.S")]
        return [*(part.cast(dtype) for part in factors), *values]

    stored = [part for parts in map_parallel(compute, weights) for part in parts]
    write_safetensors(path, stored, {"format": "pt", "soundloom": __version__, "kind": "svd_bases"})


def _columns(tensor: LazyTensor, count: int) -> LazyTensor:
    """Return the first values of the last axis."""
    if tensor.shape[-1] == count:
        return tensor
    return tensor.derive((*tensor.shape[:-1], count), lambda values: values[..., :count])


# Adapters


def with_bases(
    adapter: Adapter,
    weights: Mapping[str, LazyTensor],
    bases_file: str | Path | None = None,
    training_weights: Mapping[str, LazyTensor] | None = None,
) -> Adapter:
    """Return an adapter of an -xs type with U and V in all modules; other adapters are returned as they are.

    `weights` are those of the model in use and `training_weights` those of the model that the adapter was trained on,
    which may be the same, by names as in adapter files. Layers that a bases file lacks compute theirs; those that the
    weights lack are taken from it unchecked. Notices of the adapter say where bases may differ from those used in
    training. Raises MismatchError.
    """
    needed = [name for name, module in adapter.modules.items() if not module.has_factors]
    if not needed:
        return adapter
    found = read_bases(bases_file) if bases_file is not None else {}
    sources = {**weights, **(training_weights or {})}
    residuals: dict[str, float] = {}

    def complete(name: str) -> ModuleAdapter:
        module = adapter.modules[name]
        if name not in sources and name not in found:
            raise MismatchError(f"the model has no layer {name}, whose weight the adapter {adapter.name} needs")
        if name in sources:
            require_rank(name, module.rank, sources[name].shape)
        if name in found:
            require_fit(found[name], module, sources[name].shape if name in sources else None)
        if name in found and name in sources:
            residuals[name] = residual(found[name], sources[name], module.rank)
        bases = found[name] if name in found else cached_bases(name, sources[name], module.rank)
        return module.with_tensors(U=_columns(bases.u, module.rank), V=_columns(bases.v, module.rank))

    modules = {**adapter.modules, **dict(zip(needed, map_parallel(complete, needed), strict=True))}
    notices = _notices_of_file(bases_file, found, residuals, sources, _SIMILAR if training_weights is None else _EXACT)
    missing = [name for name in needed if name not in found and name not in (training_weights or {})]
    if missing:
        notices.append(
            f"the singular vectors of {_layers(len(missing))} are those of the model in use; if it was trained on "
            "another one, such as the base model of this one, its effect differs by a few percent"
        )
    return replace(adapter, modules=modules, notices=(*adapter.notices, *notices))


def training_weights(adapter: Adapter, checkpoint: Checkpoint) -> dict[str, LazyTensor] | None:
    """Return the weights of the model that an adapter was trained on, by names as in adapter files, for its bases.

    They are those of `checkpoint` itself if it is a base model or named by the adapter, otherwise those of its base
    model, if that is installed. None if neither holds, or if the adapter has all bases. Packed weights are never used.
    """
    if all(module.has_factors for module in adapter.modules.values()):
        return None
    own = isinstance(checkpoint.config, ModelConfig) and not checkpoint.config.is_distilled
    if (own or adapter.config.get("base_model") == checkpoint.name) and not _is_packed(checkpoint):
        return base_weights(checkpoint)
    entry = find_entry(f"{checkpoint.name.removesuffix('-base')}-base")
    for name in [f"{entry.name}@{layout}" for layout in installed_layouts(entry)] if entry else []:
        base = open_checkpoint(name, offline=True)
        if not _is_packed(base):
            return base_weights(base)
    return None


def _is_packed(checkpoint: Checkpoint) -> bool:
    return any(isinstance(tensor, PackedTensor) for tensor in checkpoint.tensors.values())


def require_fit(bases: Bases, module: ModuleAdapter, shape: tuple[int, ...] | None) -> None:
    """Raise MismatchError unless bases have the sizes of a weight, if they are known, and enough columns."""
    sizes = bases.u.shape[0], bases.v.shape[0]
    if shape is not None and sizes != matrix_shape(shape):
        wanted, found = (" x ".join(map(str, pair)) for pair in (matrix_shape(shape), sizes))
        raise MismatchError(
            f"the bases of {module.name} are for a weight of {found}, but the weight has {wanted}",
            "use the bases file of the model that the adapter was trained on",
        )
    if bases.rank < module.rank:
        raise MismatchError(
            f"the bases of {module.name} have {bases.rank} columns, but the adapter has rank {module.rank}",
            "use a bases file with more columns, or none",
        )


def residual(bases: Bases, weight: LazyTensor, rank: int) -> float:
    """Return how far bases are from singular vectors of a weight: |U'W - SV'| / |S|, Frobenius norms."""
    u, v = (np.asarray(_columns(part, rank).numpy(), np.float32) for part in (bases.u, bases.v))
    projected = u.T @ np.asarray(weight.numpy(), np.float32).reshape(u.shape[0], -1)  # (rank, in)
    if bases.s is None:
        s = np.einsum("ri,ir->r", projected, v)
    else:
        s = np.asarray(_columns(bases.s, rank).numpy(), np.float32)
    size = float(np.linalg.norm(s)) or 1.0
    return float(np.linalg.norm(projected - s[:, None] * v.T)) / size


def follows_sign_rule(u: Array) -> bool:
    """Whether the entry of largest size in each column is positive, up to half precision."""
    return bool(np.all(u.max(0) >= np.abs(u).max(0) * (1 - _HALF_STEP)))


def _notices_of_file(
    path: str | Path | None,
    found: Mapping[str, Bases],
    residuals: Mapping[str, float],
    weights: Mapping[str, LazyTensor],
    tolerance: float,
) -> list[str]:
    """Return notices about bases that do not belong to the weights. Raises MismatchError if they are unrelated."""
    notices = []
    if residuals:
        worst = max(residuals, key=lambda name: residuals[name])
        if not residuals[worst] <= _UNRELATED:  # true for NaN
            raise MismatchError(
                f"{path} holds no singular vectors of this model: those of {worst} are off by {residuals[worst]:.0%}",
                "use the bases file of the model that the adapter was trained on",
            )
        if residuals[worst] > tolerance:
            notices.append(
                f"{path} was made from other weights than these: the singular vectors of {worst} are off by "
                f"{residuals[worst]:.1%}; they are used as they are"
            )
    flipped = [name for name in residuals if not follows_sign_rule(np.asarray(found[name].u.numpy(), np.float32))]
    if flipped:
        notices.append(
            f"{path} breaks the sign rule in {_layers(len(flipped))}, the first {flipped[0]}; signs are kept"
        )
    unused = len(found.keys() - weights.keys())
    if unused and weights:
        notices.append(f"{path} holds {_layers(unused)} that this model lacks")
    return notices


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"
