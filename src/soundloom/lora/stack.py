"""Which adapters of a stack change which layers, and how strongly."""

from __future__ import annotations

from collections.abc import Sequence

from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse
from soundloom.errors import RequestError
from soundloom.lora.adapter import Adapter
from soundloom.lora.arithmetic import AdapterPart
from soundloom.lora.modules import CONDITIONER, SECONDS
from soundloom.lora.patterns import matches, matches_published, require_matches, select

Factors = tuple[float, ...]  # what gates and curves multiply the strength of each adapter by


def layer_parts(
    stack: AdapterStack, adapters: Sequence[Adapter], factors: Factors = (), embeds: Factors = ()
) -> dict[str, list[AdapterPart]]:
    """Return the adapters of each layer in the order in which they act, by the layers' names.

    `stack` is resolved, and `adapters` are those of its uses. Strengths are multiplied by `factors` in the transformer
    and by `embeds` in the conditioner; both default to ones.
    """
    layers: dict[str, list[AdapterPart]] = {}
    ones = (1.0,) * len(adapters)
    covered: set[str] | None = None  # layers that all adapters so far have
    for use, adapter, factor, embed in zip(stack.uses, adapters, factors or ones, embeds or ones, strict=True):
        for name in _layers_of(use, adapter, stack.published):
            if name == SECONDS and _leaves_out_seconds(stack, layers):
                continue
            if stack.published and covered is not None and name not in covered:
                continue  # the package looks for its tensors in a slot that this layer does not have
            strength = use.strength_of(name, matches) * (embed if name.startswith(CONDITIONER) else factor)
            if strength != 0:
                layers.setdefault(name, []).append(AdapterPart(adapter.modules[name], strength, use.mode or "fade"))
        covered = set(adapter.modules) if covered is None else covered & set(adapter.modules)
    return layers


def shares_seconds(stack: AdapterStack, adapters: Sequence[Adapter]) -> bool:
    """Whether several adapters would change how the duration is embedded, and only the first may."""
    return stack.seconds == "first" and sum(SECONDS in adapter.modules for adapter in adapters) > 1


def require_layers(use: AdapterUse, adapter: Adapter) -> None:
    """Raise RequestError for a pattern of a use that matches no layer of its adapter."""
    names = list(adapter.modules)
    require_matches(use.only, names, "only")
    require_matches(use.off, names, "off")
    require_matches((one.pattern for one in use.layers), names, "the pattern")


def require_ungated(stack: AdapterStack) -> None:
    """Raise RequestError if an adapter of a stack acts in some steps only, so that it cannot be merged."""
    gated = [use.name for use in stack.uses if use.is_gated]
    if gated:
        raise RequestError(
            f"adapters that act in some steps only cannot be merged: {', '.join(gated)}",
            "leave out sigma, steps and curve",
        )


def _layers_of(use: AdapterUse, adapter: Adapter, published: bool) -> list[str]:
    if not published:
        return select(adapter.modules, use.only, use.off)
    chosen = select(adapter.modules, use.only)
    return [name for name in chosen if not any(matches_published(pattern, name) for pattern in use.off)]


def _leaves_out_seconds(stack: AdapterStack, layers: dict[str, list[AdapterPart]]) -> bool:
    return stack.seconds == "none" or (stack.seconds == "first" and SECONDS in layers)
