"""How a request uses LoRA adapters: which ones, how strongly, when, and in which layers. Files are read elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from soundloom.config.values import as_float, as_int, coerce
from soundloom.errors import RequestError, shown

Mode = Literal["fade", "full", "linear"]
Combine = Literal["chain", "sum"]
Seconds = Literal["first", "all", "none"]
_SIGMA_HINT = "sigma=(0.2, 0.9) in Python, sigma=0.2..0.9 on the command line"
_STEPS_HINT = "steps=(2, 8) in Python, steps=2-8 on the command line"
MAX_STRENGTH = 100.0
MAX_ADAPTERS = 64


@dataclass(frozen=True)
class LayerStrength:
    """The strength of the layers that a pattern matches: see `lora.patterns`."""

    pattern: str
    strength: float


@dataclass(frozen=True)
class CurvePoint:
    """The strength at a noise level."""

    sigma: float
    strength: float


@dataclass(frozen=True)
class AdapterUse:
    """One adapter and its strength; `name` is a file, a folder, a name of an adapter folder, or a Hub repository.

    Strength 0 is the model alone and 1 the adapter as trained. `mode` says what lies between for types that set norms:
    `fade` moves the norms from those of the weight to the trained ones, `full` keeps the trained norms at any strength
    but 0, and `linear` interpolates the weights. None means `fade`, or what a published system does if the request
    asks for its behavior.

    The adapter acts while the noise level is within `sigma`, both ends included, and during `steps` (first, last),
    which count from 1. `only` and `off` select layers by patterns. `layers` replaces the strength of the layers that a
    pattern matches; the first match counts. `curve` multiplies the strength by a factor that depends on the noise
    level, linear between its points. `sha256` identifies the tensors.
    """

    name: str
    strength: float = 1.0
    mode: Mode | None = None
    sigma: tuple[float, ...] = (0.0, 1.0)
    steps: tuple[int, ...] | None = None
    only: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    layers: tuple[LayerStrength, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    sha256: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise RequestError(f"an adapter is named by text, found {shown(self.name)}")
        coerce(self, (), ("strength",))
        _require_strength(self.strength)
        if self.mode not in (None, *get_args(Mode)):
            raise RequestError(f"no strength mode {shown(self.mode)!r}", f"use {', '.join(get_args(Mode))}")
        object.__setattr__(self, "sigma", _pair("sigma", self.sigma, as_float))
        low, high = self.sigma
        if not 0 <= low <= high <= 1:
            raise RequestError(f"sigma must ascend within 0 to 1, found {low:g} to {high:g}", _SIGMA_HINT)
        if self.steps is not None:
            object.__setattr__(self, "steps", _pair("steps", self.steps, as_int))
            first, last = self.steps
            if not 1 <= first <= last:
                raise RequestError(f"steps count from 1 and ascend, found {first} to {last}", _STEPS_HINT)
        for name in ("only", "off"):
            patterns = getattr(self, name)
            object.__setattr__(self, name, (patterns,) if isinstance(patterns, str) else tuple(patterns))
        object.__setattr__(self, "layers", _layers(self.layers))
        object.__setattr__(self, "curve", _curve(self.curve))

    @property
    def is_gated(self) -> bool:
        """Whether the adapter changes during sampling."""
        return self.sigma != (0.0, 1.0) or self.steps is not None or bool(self.curve)

    def strength_of(self, layer: str, matches: Callable[[str, str], bool]) -> float:
        """Return the strength of a layer; `matches(pattern, name)` is that of `lora.patterns`."""
        found = (one.strength for one in self.layers if matches(one.pattern, layer))
        return next(found, self.strength)

    def factor(self, step: int, sigma: float) -> float:
        """Return what the gates and the curve multiply strengths by, at a step (from 1) and a noise level."""
        low, high = self.sigma
        if not low <= sigma <= high or (self.steps is not None and not self.steps[0] <= step <= self.steps[1]):
            return 0.0
        if not self.curve:
            return 1.0
        points = self.curve
        if sigma <= points[0].sigma:
            return points[0].strength
        for a, b in pairwise(points):
            if sigma <= b.sigma:
                return a.strength + (b.strength - a.strength) * (sigma - a.sigma) / (b.sigma - a.sigma)
        return points[-1].strength


@dataclass(frozen=True)
class AdapterStack:
    """Adapters that act together: `chain` applies them one after the other, `sum` adds the changes of each alone.

    `seconds` says which of them may change how the duration is embedded. That layer reaches every block, so by default
    only the first does. None means `chain` and `first`, or what a published system does. `published` reproduces two
    faults of the published package: its reading of `off`, and adapters that are lost on layers that an earlier one
    lacks.
    """

    uses: tuple[AdapterUse, ...] = ()
    combine: Combine | None = None
    seconds: Seconds | None = None
    published: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "uses", tuple(self.uses))
        if not all(isinstance(use, AdapterUse) for use in self.uses):
            raise RequestError(f"adapters must be AdapterUse objects, found {shown(self.uses)}")
        if len(self.uses) > MAX_ADAPTERS:
            raise RequestError(f"at most {MAX_ADAPTERS} adapters can act together, found {len(self.uses)}")
        for name, choices in (("combine", get_args(Combine)), ("seconds", get_args(Seconds))):
            if getattr(self, name) not in (None, *choices):
                found = shown(getattr(self, name))
                raise RequestError(f"{name} must be one of {', '.join(choices)}, found {found!r}")

    def resolved(self, mode: Mode) -> AdapterStack:
        """Return the stack without None: `mode` is that of the system whose behavior was requested."""
        uses = tuple(replace(use, mode=use.mode or mode) for use in self.uses)
        combine = self.combine or ("sum" if mode == "linear" else "chain")
        seconds = self.seconds or ("first" if mode == "fade" else "all")
        return AdapterStack(uses, combine, seconds, self.published or mode == "full")

    @classmethod
    def of(cls, loras: Any) -> AdapterStack:
        """Return the stack that a caller means by a mapping of names to strengths, a list, or a name alone.

        Raises RequestError.
        """
        if isinstance(loras, AdapterStack):
            return loras
        if isinstance(loras, str | AdapterUse):
            loras = [loras]
        if isinstance(loras, Mapping):
            return cls(tuple(AdapterUse(name, strength) for name, strength in loras.items()))
        if isinstance(loras, Sequence) and all(isinstance(one, str | AdapterUse) for one in loras):
            return cls(tuple(one if isinstance(one, AdapterUse) else AdapterUse(one) for one in loras))
        raise RequestError(
            f"loras must map names to strengths, or list names and AdapterUse objects, found {shown(loras)}",
            'loras={"style.safetensors": 0.7}',
        )


LorasLike = AdapterStack | AdapterUse | str | Mapping[str, float] | Sequence[str | AdapterUse]  # what a caller may pass


def mix(first: str, second: str, share: float) -> AdapterStack:
    """Return a blend of two adapters: the first alone at share 0, the second alone at 1, linear between."""
    share = as_float("the share of a blend", share)
    if not 0 <= share <= 1:
        raise RequestError(f"the share of a blend must be between 0 and 1, found {share:g}")
    return AdapterStack((AdapterUse(first, 1 - share, "linear"), AdapterUse(second, share, "linear")), "sum", "all")


def _require_strength(strength: float) -> None:
    if not abs(strength) <= MAX_STRENGTH:  # false for NaN
        raise RequestError(f"a strength must be between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}, found {strength:g}")


def _pair(name: str, value: Any, convert: Any) -> tuple[Any, Any]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise RequestError(f"{name} must be a pair, found {shown(value)}")
    first, last = (convert(name, bound) for bound in value)
    return first, last


def _layers(layers: Any) -> tuple[LayerStrength, ...]:
    if isinstance(layers, Mapping):
        layers = tuple(LayerStrength(pattern, strength) for pattern, strength in layers.items())
    if not isinstance(layers, Sequence) or not all(isinstance(one, LayerStrength) for one in layers):
        raise RequestError(f"layers must map patterns to strengths, found {shown(layers)}")
    found = tuple(LayerStrength(one.pattern, as_float("a strength", one.strength)) for one in layers)
    for one in found:
        _require_strength(one.strength)
    return found


def _curve(curve: Any) -> tuple[CurvePoint, ...]:
    try:
        pairs = [(one.sigma, one.strength) if isinstance(one, CurvePoint) else tuple(one) for one in curve]
        points = tuple(CurvePoint(as_float("sigma", s), as_float("a strength", v)) for s, v in pairs)
    except (TypeError, ValueError) as error:
        raise RequestError(f"a curve is a list of (sigma, strength), found {shown(curve)}") from error
    for point in points:
        _require_strength(point.strength)
    levels = [point.sigma for point in points]
    if levels != sorted(set(levels)) or any(not (math.isfinite(level) and 0 <= level <= 1) for level in levels):
        raise RequestError(f"the noise levels of a curve must rise within 0 to 1, found {shown(levels)}")
    return points
