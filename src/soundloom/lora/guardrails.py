"""Checks that an adapter fits a model, and warnings about adapters that are broken, too strong, or for another model.

`fit` compares names, shapes and values, and reads little of the model, so that every adapter passes it when it is
attached. `check_norms` and `check_branches` take what attaching computes anyway. Errors are MismatchError with one
sentence; warnings are returned, or added to the notices of the adapter, and do not repeat its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor
from soundloom.config.catalogue import CATALOGUE, find_entry
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import MismatchError, shown
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.branches import Branches
from soundloom.lora.modules import CONDITIONER, matrix_shape, module_shapes
from soundloom.lora.patterns import select

_NAMED = 3  # layers named in a message
_SIGNED = 16  # weights of a signature
_SIGNATURE_DIGITS = 6
_SIGNATURE_TOLERANCE = 1e-2  # relative; copies in half precision differ by 1e-5, packed ones by less than this
_CORRELATION = 0.9  # of the logarithms of magnitudes and norms
_NEAR = 0.05  # root mean square of their differences; short training changes magnitudes less
_ROUNDED = 2.0**-8  # relative; published trainers round the first magnitudes to BF16
_INVERTED = 0.01  # share of a layer's rows
_SCALES = 0.2, 5.0  # usual factors of rows and columns; overfitted adapters leave this range
_HIGH_RANK = 64

_AFFIXES = ("stable-audio-3-", "stable-audio-", "sa3-", "dit-")
_ENDINGS = ("-base", "-arc", "-rf", "-post", "-f16", "-f32")


# Names of models


def canonical_model(name: object) -> str | None:
    """Return the catalogue name that a spelling of a model means, that of the post-trained one; None if unknown.

    Examples: `stabilityai/stable-audio-3-small-music-base`, `sa3-sm-music` and `medium_arc`.
    """
    if not isinstance(name, str):
        return None
    text = name.strip().lower().replace("_", "-").rstrip("/").rpartition("/")[2]
    for affix in _AFFIXES:
        text = text.removeprefix(affix)
    for ending in _ENDINGS:
        text = text.removesuffix(ending)
    entry = find_entry(text)
    return entry.name if entry and entry.kind == "generator" else None


def fitting_models(adapter: Adapter) -> list[str]:
    """Return the models of the catalogue that have all layers of an adapter, in its shapes, without base models."""
    shapes = {name: _weight_shape(module) for name, module in adapter.modules.items()}

    def has_all(known: Mapping[str, tuple[int, int]]) -> bool:
        return all(
            name in known and all(a in (None, b) for a, b in zip(shape, known[name], strict=True))
            for name, shape in shapes.items()
        )

    return [model for model, known in _catalogue_shapes().items() if shapes and has_all(known)]


@cache
def _catalogue_shapes() -> dict[str, dict[str, tuple[int, int]]]:
    found = {}
    for entry in CATALOGUE.values():
        config = entry.parsed_config() if entry.kind == "generator" and entry.public else None
        if isinstance(config, ModelConfig) and canonical_model(entry.name) == entry.name:
            found[entry.name] = {name: matrix_shape(shape) for name, shape in module_shapes(config).items()}
    return found


def _weight_shape(module: ModuleAdapter) -> tuple[int | None, int | None]:
    """Return the shape (out, in) of the weight that a module's tensors are made for; None where they do not tell."""
    sizes: dict[int, int] = {}
    for kind, tensor in module.tensors.items():
        for axis, side in enumerate(_axes(module, kind)):
            if side is not None and axis < len(tensor.shape):
                sizes.setdefault(side, tensor.shape[axis])
    return sizes.get(0), sizes.get(1)


def _axes(module: ModuleAdapter, kind: str) -> tuple[int | None, ...]:
    """Return what each axis of a tensor is: 0 for the outputs of the weight, 1 for its inputs, None for the rank."""
    magnitude = 1 if module.type.startswith("dora-cols") else 0
    axes: dict[str, tuple[int | None, ...]] = {
        "lora_A": (None, 1),
        "lora_B": (0, None),
        "U": (0, None),
        "V": (1, None),
        "M_xs": (None, None),
        "magnitude": (magnitude,),
        "magnitude_r": (0,),
        "magnitude_c": (1,),
        "baked_vnorm_row": (0,),
    }
    return axes.get(kind, ())


# Fit


def fit(adapter: Adapter, weights: Mapping[str, LazyTensor], model: str, *, partial: bool = False) -> Adapter:
    """Return an adapter that fits a model, with notices of what is unusual about it.

    `weights` are those that adapters may change, by names as in adapter files, and `model` is the model's name. With
    `partial`, layers that the model lacks are dropped, and an adapter for another model of the same shape is accepted.
    Values are finite: reading a file checks them. Raises MismatchError.
    """
    known = require_shapes(adapter, {name: weight.shape for name, weight in weights.items()}, model, partial=partial)
    fitted = replace(adapter, modules=known)
    require_change(fitted)
    notices = [*_notices_of_layers(adapter, weights, partial), *check_base(adapter, model, partial=partial)]
    notices += [*check_signature(adapter, weights), *check_settings(fitted)]
    return replace(fitted, notices=(*adapter.notices, *notices))


def require_shapes(
    adapter: Adapter, shapes: Mapping[str, tuple[int, ...]], model: str, *, partial: bool = False
) -> dict[str, ModuleAdapter]:
    """Return the modules of an adapter that a model has, by the shapes of its weights, which need no files.

    Raises MismatchError for an adapter of another model.
    """
    known = {name: module for name, module in adapter.modules.items() if name in shapes}
    faults = [] if partial else _missing_in_model(adapter, shapes) + _missing_in_file(adapter, shapes)
    faults += _shape_faults(known, shapes)
    if faults or not known:
        raise _does_not_fit(adapter, model, faults or _missing_in_model(adapter, shapes))
    check_base(adapter, model, partial=partial)
    return known


def require_known_fit(adapter: Adapter, model: str, *, partial: bool = False) -> None:
    """Raise MismatchError for an adapter that a model of the catalogue cannot use, before the model is downloaded."""
    entry = find_entry(model.partition("@")[0])
    config = entry.parsed_config() if entry and entry.kind == "generator" and entry.public else None
    if isinstance(config, ModelConfig):
        require_shapes(adapter, module_shapes(config), model, partial=partial)


def _missing_in_model(adapter: Adapter, weights: Mapping[str, object]) -> list[str]:
    unknown = [shown(name) for name in adapter.modules if name not in weights]
    return [f"the model lacks {_counted(unknown, len(adapter.modules), named=1)}"] if unknown else []


def _missing_in_file(adapter: Adapter, weights: Iterable[str]) -> list[str]:
    """Return a fault if the file's own lists select layers that it lacks; some trainers leave out the conditioner."""
    missing = [name for name in _selected_but_missing(adapter, weights) if not name.startswith(CONDITIONER)]
    return [f"the file lacks {_counted(missing, named=1)} that its lists select"] if missing else []


def _selected_but_missing(adapter: Adapter, weights: Iterable[str]) -> list[str]:
    if not (adapter.include or adapter.exclude):
        return []  # says nothing about what was trained
    selected = select(weights, adapter.include, adapter.exclude)
    return [name for name in selected if name not in adapter.modules]


def _shape_faults(modules: Mapping[str, ModuleAdapter], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    found = [_shape_fault(module, matrix_shape(shapes[name])) for name, module in modules.items()]
    wrong = [fault for fault in found if fault]
    return [f"other shapes in {_counted(wrong, named=1)}"] if wrong else []


def _shape_fault(module: ModuleAdapter, shape: tuple[int, int]) -> str:
    """Describe the first tensor of a module that has not the size that a weight and the module's rank require."""
    for kind, tensor in module.tensors.items():
        axes = _axes(module, kind)
        wanted = tuple(module.rank if side is None else shape[side] for side in axes)
        if axes and tensor.shape != wanted:
            return f"{shown(module.name)}: {kind} {_size(tensor.shape)} instead of {_size(wanted)}"
    return ""


def _does_not_fit(adapter: Adapter, model: str, faults: Sequence[str]) -> MismatchError:
    if not adapter.modules:
        return MismatchError(f"{adapter.name} changes no layer", "it is not an adapter, or the file is incomplete")
    named = canonical_model(adapter.config.get("base_model"))
    others = [name for name in ([named] if named else fitting_models(adapter)) if name != canonical_model(model)]
    detail = "; ".join(faults)
    if others:
        message = f"{adapter.name} is an adapter for {' or '.join(others)}, but the model is {model}: {detail}"
        return MismatchError(message, f"use --model {others[0]}, or an adapter for {model}")
    only_names = all("lack" in fault for fault in faults)
    hint = "--partial applies the layers that match" if only_names else "use the model that it was trained on"
    return MismatchError(f"{adapter.name} does not fit {model}: {detail}", hint)


def _counted(names: Sequence[str], total: int | None = None, named: int = _NAMED) -> str:
    listed = ", ".join(names[:named]) + (", …" if len(names) > named else "")
    count = f"{len(names)} of {total}" if total is not None else str(len(names))
    return f"{count} {'layer' if (total or len(names)) == 1 else 'layers'} ({listed})"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _notices_of_layers(adapter: Adapter, weights: Mapping[str, LazyTensor], partial: bool) -> list[str]:
    notices = []
    unknown = [shown(name) for name in adapter.modules if name not in weights]
    if unknown:
        notices.append(f"the model lacks {_counted(unknown, len(adapter.modules))}, which are left out")
    missing = _selected_but_missing(adapter, weights)
    if missing and (partial or all(name.startswith(CONDITIONER) for name in missing)):
        notices.append(f"the file lacks {_counted(missing)} that its lists select")
    return notices


# Values


def require_change(adapter: Adapter) -> None:
    """Raise MismatchError if an adapter that sets no norms adds nothing."""
    modules = adapter.modules.values()
    if all(module.rows is None and module.cols is None for module in modules) and not any(map(_adds, modules)):
        raise _no_change(adapter)


def _adds(module: ModuleAdapter) -> bool:
    kinds = [kind for kind in ("lora_A", "lora_B", "M_xs") if kind in module.tensors]
    return module.scale != 0 and all(np.any(module.tensors[kind].numpy()) for kind in kinds)


def _no_change(adapter: Adapter) -> MismatchError:
    return MismatchError(f"{adapter.name} changes nothing: it was saved before it was trained", "train it further")


def check_settings(adapter: Adapter) -> list[str]:
    """Return warnings about inverted rows and scales, which need no model."""
    notices = []
    inverted = [name for name, share in inverted_rows(adapter).items() if share > _INVERTED]
    if inverted:
        notices.append(
            f"it inverts more than {_INVERTED:.0%} of the rows of {_counted(inverted)}, and may break in a sum with "
            "other adapters"
        )
    if adapter.rank > _HIGH_RANK and adapter.alpha >= adapter.rank:
        notices.append(
            f"it has rank {adapter.rank} and alpha {adapter.alpha:g}; above rank {_HIGH_RANK}, an alpha that grows "
            "with the rank often sounds worse; try a lower strength"
        )
    return notices


def inverted_rows(adapter: Adapter) -> dict[str, float]:
    """Return the share of rows (or columns) with a negative magnitude, by layer; layers without any are left out."""
    shares = {}
    for name, module in adapter.modules.items():
        vectors = [vector for vector in (module.rows, module.cols) if vector is not None]
        share = max((float(np.mean(vector < 0)) for vector in vectors), default=0.0)
        if share:
            shares[name] = share
    return shares


# The base model


def check_base(adapter: Adapter, model: str, *, partial: bool = False) -> list[str]:
    """Return notices about the model that an adapter names. Raises MismatchError for another one of the catalogue."""
    named = adapter.config.get("base_model")
    if not named:
        return []
    wanted, used = canonical_model(named), canonical_model(model)
    if wanted is None:
        return [] if named == model else [f"it names {shown(named)} as its model, which is not a known one"]
    if used in (None, wanted):
        return []
    if not partial:
        raise MismatchError(
            f"{adapter.name} is an adapter for {wanted}, but the model is {model}",
            f"use --model {wanted}, or --partial to apply it anyway",
        )
    return [f"it is an adapter for {wanted}, but the model is {model}"]


def base_signature(weights: Mapping[str, LazyTensor]) -> dict[str, float]:
    """Return the Frobenius norms of 16 weights by name, which tell models of the same shapes apart."""
    names = sorted(name for name in weights if name.endswith("attn.to_out"))
    if len(names) < _SIGNED:
        names = sorted(weights)
    count = min(_SIGNED, len(names))
    chosen = [names[i * len(names) // count] for i in range(count)]
    return {name: float(f"{_norm(weights[name]):.{_SIGNATURE_DIGITS}g}") for name in chosen}


def check_signature(adapter: Adapter, weights: Mapping[str, LazyTensor]) -> list[str]:
    """Return a warning if the model has other weights than the one that the adapter was trained on."""
    signature = adapter.config.get("base_signature")
    if not isinstance(signature, Mapping):
        return []
    known = {name: value for name, value in signature.items() if name in weights and _is_positive(value)}
    differences = [abs(_norm(weights[name]) / value - 1) for name, value in list(known.items())[:_SIGNED]]
    worst = max(differences, default=0.0)
    if worst <= _SIGNATURE_TOLERANCE:
        return []
    return [f"it was trained on other weights: norms of this model's weights differ by up to {worst:.1%}"]


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _norm(weight: LazyTensor) -> float:
    return float(np.linalg.norm(np.asarray(weight.numpy(), np.float32).reshape(-1)))


# What attaching computes


def check_norms(adapter: Adapter, norms_of: Callable[[str, bool], Array]) -> list[str]:
    """Return warnings from the norms of the model's weights, for adapters that set norms.

    `norms_of(layer, of_rows)` returns the norms of the rows, or columns, of a layer's weight.
    Raises MismatchError if the adapter changes nothing.
    """
    pairs = []
    for name, module in adapter.modules.items():
        for vector, of_rows in ((module.rows, True), (module.cols, False)):
            if vector is not None:
                pairs.append((np.abs(vector.astype(np.float64)), np.asarray(norms_of(name, of_rows), np.float64)))
    if not pairs:
        return []
    changes = any(np.any(np.abs(magnitudes - norms) > _ROUNDED * norms) for magnitudes, norms in pairs)
    if not changes and not any(map(_adds, adapter.modules.values())):
        raise _no_change(adapter)
    correlation, difference = _compare(pairs)
    if correlation < _CORRELATION and difference > _NEAR:
        return [
            "it may be for other weights: its magnitudes follow the norms of this model's weights with a correlation "
            f"of {correlation:.2f}, usually above {_CORRELATION:g}"
        ]
    return []


def _compare(pairs: Iterable[tuple[Array, Array]]) -> tuple[float, float]:
    """Compare the logarithms of magnitudes and norms: return their correlation, and the size of their differences.

    The correlation is that within layers; between layers it is high for any model.
    """
    logs = []
    for magnitudes, norms in pairs:
        valid = (magnitudes > 0) & (norms > 0)
        logs.append(np.log(np.stack([magnitudes[valid], norms[valid]])))
    a, b = np.concatenate([both - both.mean(1, keepdims=True) for both in logs if both.size] or [np.zeros((2, 1))], 1)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    difference = np.concatenate([both[0] - both[1] for both in logs])
    return float(a @ b) / size if size else 1.0, float(np.sqrt(np.mean(difference**2))) if len(difference) else 0.0


def check_branches(name: str, branches: Branches) -> list[str]:
    """Return a warning if adapters multiply rows or columns by unusual factors; `name` says whose branches they are."""
    low, high = _SCALES
    hot = {
        layer
        for layer, branch in branches.layers.items()
        for term in branch.terms
        for vector in term
        if vector is not None and not np.all((np.abs(vector) >= low) & (np.abs(vector) <= high))
    }
    if not hot:
        return []
    return [
        f"{name} multiplies rows or columns of {_counted(sorted(hot))} by factors outside {low:g} to {high:g}, "
        "as overfitted adapters do; try a lower strength"
    ]
