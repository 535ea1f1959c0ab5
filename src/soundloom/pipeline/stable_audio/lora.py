"""The LoRA methods of `Model`: add adapters, set how they act, and merge them into the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.options import check_options
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse
from soundloom.engines.stable_audio import Engine
from soundloom.errors import RequestError, shown
from soundloom.lora.files.find import find_adapter
from soundloom.lora.merging import merged_checkpoint
from soundloom.lora.stack import require_ungated
from soundloom.pipeline.stable_audio.adapters import AddedAdapter, ModelAdapters

_OPTIONS = tuple(field.name for field in fields(AdapterUse) if field.name not in ("name", "strength", "sha256"))


class LoraMethods:
    """LoRA adapters of a Stable Audio model. They act in every later call, in the order in which they were added."""

    checkpoint: Checkpoint
    engine: Engine

    @cached_property
    def _adapters(self) -> ModelAdapters:
        return ModelAdapters(self.checkpoint)

    @property
    def adapters(self) -> Mapping[str, AddedAdapter]:
        """The adapters of the model by name, in the order in which they act."""
        return {name: AddedAdapter(self._adapters.of(use), use) for name, use in self._adapters.added.items()}

    def add_lora(
        self,
        source: str | Path,
        strength: float = 1.0,
        *,
        name: str | None = None,
        bases: str | Path | None = None,
        exclude: Sequence[str] = (),
        partial: bool = False,
        **options: Any,
    ) -> AddedAdapter:
        """Add an adapter: a file, a folder, a name in the folder of adapters, or a Hub repository.

        Its name is the file's, made unique, unless given. `options` are the fields of `AdapterUse`, such as `mode`,
        `sigma`, `steps`, `only` and `off`; `exclude` means `off`. `bases` is a file of singular vectors for -xs types.
        `partial` accepts an adapter that lacks layers or has others than the
        model. Raises RequestError, ModelNotFoundError or CheckpointError.
        """
        self._require_unmerged("add an adapter")
        check_options("add_lora", options, _OPTIONS)
        use = AdapterUse(name or "adapter", strength, **options)
        use = replace(use, off=(*use.off, *exclude))  # so that a record repeats it
        adapter = self._adapters.read(find_adapter(str(source)), bases=bases, partial=partial)
        known = self._adapters.added
        if name in known:
            raise RequestError(f"the model has an adapter named {shown(name)!r} already", "give another name")
        unique = name or next(one for one in _numbered(adapter.name) if one not in known)
        use = replace(use, name=unique, sha256=adapter.sha256)
        known[unique] = use
        try:
            self._adapters.resolve(None, "fade")
        except RequestError:
            del known[unique]
            raise
        return AddedAdapter(adapter, use)

    def set_lora(self, name: str, strength: float | None = None, **options: Any) -> None:
        """Change how an adapter acts: its strength, or fields of `AdapterUse`."""
        self._require_unmerged("change an adapter")
        check_options("set_lora", options, _OPTIONS)
        use = self._added(name)
        changes = options if strength is None else {"strength": strength, **options}
        self._adapters.added[name] = replace(use, **changes)
        try:
            self._adapters.resolve(None, "fade")
        except RequestError:
            self._adapters.added[name] = use
            raise

    def set_loras(self, loras: Any) -> None:
        """Let exactly these adapters act, in this order: a mapping of names to strengths, or an `AdapterStack`.

        The model's other adapters stay, with strength 0.
        """
        self._require_unmerged("change adapters")
        stack = AdapterStack.of(loras)
        named = {use.name: self._merge_use(self._added(use.name), use) for use in stack.uses}
        rest = {name: replace(use, strength=0.0) for name, use in self._adapters.added.items() if name not in named}
        self._adapters.added = {**named, **rest}
        self._adapters.combine = replace(stack, uses=())

    @staticmethod
    def _merge_use(old: AdapterUse, new: AdapterUse) -> AdapterUse:
        """Return a use with the fields of `new` that differ from their defaults."""
        changes = {f.name: getattr(new, f.name) for f in fields(AdapterUse) if getattr(new, f.name) != f.default}
        return replace(old, **{**changes, "strength": new.strength, "sha256": old.sha256})

    @contextmanager
    def loras(self, loras: Any) -> Iterator[None]:
        """Let exactly these adapters act within a `with` block, as `set_loras` does."""
        added, combine = dict(self._adapters.added), self._adapters.combine
        self.set_loras(loras)
        try:
            yield
        finally:
            self._adapters.added, self._adapters.combine = added, combine

    def remove_lora(self, name: str) -> None:
        """Remove an adapter from the model."""
        self._require_unmerged("remove an adapter")
        self._added(name)
        del self._adapters.added[name]
        self._adapters.forget_unused()

    def clear_loras(self) -> None:
        """Remove all adapters from the model, merged ones too."""
        self.unmerge_loras()
        self._adapters.added.clear()
        self._adapters.combine = AdapterStack()
        self._adapters.forget_unused()

    def merge_loras(self) -> None:
        """Compute with merged weights from now on, which takes no time per step; `unmerge_loras` undoes it.

        Adapters cannot be changed in the meantime. Raises RequestError for adapters that act in some steps only, and
        for a model with packed weights, which would lose most of the change.
        """
        self._require_unmerged("merge")
        stack = self._adapters.resolve(None, "fade")
        if stack is None:
            raise RequestError("the model has no adapters to merge", 'model.add_lora("style.safetensors")')
        require_ungated(stack)
        parts = self._adapters.parts(stack)
        self._use_weights(merged_checkpoint(self.checkpoint, parts, stack.combine or "chain"))
        self._adapters.merged = stack

    def unmerge_loras(self) -> None:
        """Compute with the original weights, bit for bit, and with the adapters beside them."""
        if self._adapters.merged is not None:
            self._use_weights(self.checkpoint)
            self._adapters.merged = None

    def _use_weights(self, checkpoint: Checkpoint) -> None:
        self.engine.free("dit", "conditioner")
        self.engine.checkpoint = checkpoint

    def _require_unmerged(self, action: str) -> None:
        if self._adapters.merged is not None:
            raise RequestError(f"cannot {action} while adapters are merged", "call unmerge_loras first")

    def _added(self, name: str) -> AdapterUse:
        known = self._adapters.added
        if name not in known:
            added = f"the model has {', '.join(known)}" if known else "add it first with add_lora"
            raise RequestError(f"the model has no adapter named {shown(name)!r}", added)
        return known[name]


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, then the name with 2, 3 and so on."""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
