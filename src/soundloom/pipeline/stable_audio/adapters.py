"""The adapters of a model: those that were added to it, those of requests, and which of them act in each step."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse, Mode
from soundloom.engines.stable_audio import Engine
from soundloom.errors import ModelNotFoundError, RequestError, shown
from soundloom.lora.adapter import Adapter
from soundloom.lora.arithmetic import AdapterPart
from soundloom.lora.branches import Branches
from soundloom.lora.compile import BranchCompiler
from soundloom.lora.files.find import find_adapter, index_adapter, locate_adapter
from soundloom.lora.files.read import read_adapter
from soundloom.lora.fitting import fitted
from soundloom.lora.guardrails import check_branches, check_norms
from soundloom.lora.modules import base_weights
from soundloom.lora.stack import Factors, layer_parts, require_layers, shares_seconds
from soundloom.pipeline.stable_audio.plan import BatchPlan
from soundloom.pipeline.stable_audio.trace import SamplerTrace

log = logging.getLogger("soundloom")

MAX_RESIDENT = 4  # sets of adapters in the engine's memory at once; more are loaded when their step comes
MAX_COMPILED = 8
MAX_READ = 16  # adapters of requests that are kept in memory


@dataclass(frozen=True)
class AddedAdapter:
    """An adapter of a model and how it is used."""

    adapter: Adapter = field(repr=False)
    use: AdapterUse

    @property
    def name(self) -> str:
        return self.use.name

    @property
    def strength(self) -> float:
        return self.use.strength

    @property
    def type(self) -> str:
        return self.adapter.type

    @property
    def rank(self) -> int:
        return self.adapter.rank

    @property
    def trigger(self) -> str | None:
        """The word that its training captions had in common, if its file or one beside it names one."""
        word = self.adapter.config.get("trigger") or self.adapter.hints.get("trigger")
        return word if isinstance(word, str) else None

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that it changes."""
        return tuple(self.adapter.modules)


class ModelAdapters:
    """Reads adapters for one checkpoint, and compiles what its engine computes for them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.added: dict[str, AdapterUse] = {}  # by name, in the order in which they act
        self.combine = AdapterStack()  # how those act together
        self.merged: AdapterStack | None = None  # those that are part of the engine's weights
        self._read: dict[str, Adapter] = {}  # by hash
        self._compiled: OrderedDict[Hashable, Branches] = OrderedDict()
        self._loaded: tuple[Any, ...] = ()  # the sets in the engine's slots
        self._logged: set[str] = set()
        self._checked: set[str] = set()  # hashes of adapters whose magnitudes were compared with the weights

    @cached_property
    def _compiler(self) -> BranchCompiler:
        return BranchCompiler(base_weights(self.checkpoint))

    # Files

    def read(self, path: Path, *, bases: str | Path | None = None, partial: bool = False) -> Adapter:
        """Return the adapter in a file, which must fit the model. Raises RequestError or CheckpointError."""
        adapter = read_adapter(path)
        if adapter.sha256 in self._read and bases is None:
            return self._read[adapter.sha256]
        if len(self._read) >= MAX_READ:
            self.forget_unused()
        index_adapter(adapter)
        adapter = fitted(adapter, self.checkpoint, bases=bases, partial=partial)
        self.notice(f"{adapter.name}: {notice}" for notice in adapter.notices)
        self._read[adapter.sha256] = adapter
        return adapter

    def notice(self, messages: Iterable[str]) -> None:
        """Log messages that were not logged yet."""
        for message in messages:
            if message not in self._logged:
                self._logged.add(message)
                log.warning("%s", message)

    def of(self, use: AdapterUse) -> Adapter:
        """Return the adapter of a resolved use, from memory or from its file."""
        if use.sha256 not in self._read:
            self.read(locate_adapter(use.name, use.sha256))
        return self._read[use.sha256]

    def forget_unused(self) -> None:
        """Drop adapters that are not added to the model, with all that was computed from them."""
        used = {use.sha256 for use in self.added.values()}
        for sha256 in self._read.keys() - used:
            self._compiler.forget(self._read.pop(sha256).modules)
        self._compiled.clear()

    # Stacks

    def stack(self) -> AdapterStack | None:
        """Return the stack of the added adapters, None if there are none."""
        return replace(self.combine, uses=tuple(self.added.values())) if self.added else None

    def resolve(self, stack: AdapterStack | None, mode: Mode) -> AdapterStack | None:
        """Return a request's stack with hashes and without defaults; without one, the stack of added adapters.

        Raises RequestError, ModelNotFoundError or CheckpointError.
        """
        if self.merged is not None:
            if stack not in (None, self.merged):
                raise RequestError("other adapters were requested while some are merged", "call unmerge_loras first")
            return self.merged
        stack = self.stack() if stack is None else replace(stack, uses=tuple(map(self._resolve_use, stack.uses)))
        if stack is None or not stack.uses:
            return None
        stack = stack.resolved(mode)
        if not stack.published:
            for use in stack.uses:
                require_layers(use, self.of(use))
        return stack

    def _resolve_use(self, use: AdapterUse) -> AdapterUse:
        if use.sha256:
            return use
        if use.name in self.added:
            return replace(use, sha256=self.added[use.name].sha256)
        try:
            path = find_adapter(use.name)
        except ModelNotFoundError as error:
            if not self.added:
                raise
            raise RequestError(error.args[0], f"added to the model: {', '.join(self.added)}") from error
        adapter = self.read(path)
        return replace(use, name=adapter.name, sha256=adapter.sha256)

    # Compiling

    def compile(self, stack: AdapterStack, factors: Factors, embeds: Factors) -> Branches:
        """Return the branches of a resolved stack; the conditioner's layers are multiplied by `embeds`."""
        key = stack, factors, embeds
        if key not in self._compiled:
            adapters = self._adapters_of(stack)
            parts = layer_parts(stack, adapters, factors, embeds)
            self._compiled[key] = self._compiler.compile(parts, stack.combine or "chain")
            for adapter in adapters:
                self._check_norms(adapter)
            self.notice(check_branches(" and ".join(use.name for use in stack.uses), self._compiled[key]))
            while len(self._compiled) > MAX_COMPILED:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _check_norms(self, adapter: Adapter) -> None:
        """Compare magnitudes with norms that compiling computed. Raises MismatchError if they change nothing."""
        if adapter.sha256 not in self._checked:
            self.notice(f"{adapter.name}: {text}" for text in check_norms(adapter, self._compiler.weight_norms))
            self._checked.add(adapter.sha256)

    def parts(self, stack: AdapterStack) -> dict[str, list[AdapterPart]]:
        """Return what each layer is changed by, for a stack without gates."""
        return layer_parts(stack, self._adapters_of(stack))

    def _adapters_of(self, stack: AdapterStack) -> list[Adapter]:
        adapters = [self.of(use) for use in stack.uses]
        if shares_seconds(stack, adapters):
            self.notice([_SECONDS_NOTICE])
        return adapters

    # Running

    def load(self, engine: Engine, sets: Sequence[Branches | None]) -> None:
        """Load sets into the engine's slots, unless they are there already."""
        if len(sets) != len(self._loaded) or any(a is not b for a, b in zip(sets, self._loaded, strict=True)):
            self._loaded = ()
            engine.load_branches(sets)
            self._loaded = tuple(sets)


def schedule_adapters(adapters: ModelAdapters | None, engine: Engine, batch: BatchPlan) -> AdapterSchedule:
    """Return which adapters act in each call of the transformer. Raises RequestError for one that never acts."""
    stack = batch.first.request.loras
    if adapters is None or stack is None or not stack.uses or adapters.merged is not None:
        return AdapterSchedule(engine)
    calls = SamplerTrace.of(batch).calls
    factors = [tuple(use.factor(step, sigma) for use in stack.uses) for step, sigma in calls]
    embeds = tuple(float(any(column)) for column in zip(*factors, strict=True))
    for use, acts in zip(stack.uses, embeds, strict=True):
        if not acts:
            raise _never_acts(use, calls)
    return AdapterSchedule(engine, adapters, stack, tuple(factors), embeds)


@dataclass(frozen=True)
class AdapterSchedule:
    """The adapters of one batch: `factors` of each call of the transformer, and `embeds` of the conditioner.

    Without a stack the engine computes with the weights alone.
    """

    engine: Engine
    adapters: ModelAdapters | None = None
    stack: AdapterStack | None = None
    factors: tuple[Factors, ...] = ()
    embeds: Factors = ()

    @cached_property
    def _distinct(self) -> list[Factors]:
        return list(dict.fromkeys(self.factors))

    @property
    def is_resident(self) -> bool:
        """Whether all sets are in the engine's memory at once."""
        return len(self._distinct) <= MAX_RESIDENT

    @property
    def structure(self) -> Hashable:
        """What decides the operations of a captured graph: the layers that have branches in each call."""
        if self.stack is None:
            return None
        sets = tuple(self._branches(factors).structure for factors in self._distinct)
        return sets, tuple(self._distinct.index(factors) for factors in self.factors)

    def begin(self) -> None:
        """Load the adapters and let the conditioner use them."""
        if self.stack is None:
            self.engine.use_branches(None)
            return
        if self.is_resident:
            self._load(self._distinct)
        self._use(self.factors[0])

    def calls(self) -> Callable[[], Hashable]:
        """Return a function that lets the engine use the adapters of the next call, and returns their factors."""
        if self.stack is None:
            return lambda: None
        following = iter(self.factors)

        def select_next() -> Hashable:
            factors = next(following)
            self._use(factors)
            return factors

        return select_next

    def _use(self, factors: Factors) -> None:
        if self.is_resident:
            self.engine.use_branches(self._distinct.index(factors))
        else:
            self._load([factors])
            self.engine.use_branches(0)

    def _load(self, sets: Sequence[Factors]) -> None:
        assert self.adapters is not None
        self.adapters.load(self.engine, [self._branches(factors) for factors in sets])

    def _branches(self, factors: Factors) -> Branches:
        assert self.adapters is not None and self.stack is not None
        return self.adapters.compile(self.stack, factors, self.embeds)


_SECONDS_NOTICE = (
    "only the first adapter of the stack changes how the duration is embedded; seconds='all' lets every one do so"
)


def _never_acts(use: AdapterUse, calls: Sequence[tuple[int, float]]) -> RequestError:
    steps, levels = calls[-1][0], [sigma for _, sigma in calls]
    found = f"steps 1 to {steps}, noise levels {min(levels):.3g} to {max(levels):.3g}"
    return RequestError(
        f"the adapter {shown(use.name)} never acts: no step of this run is within its limits", f"the run has {found}"
    )
