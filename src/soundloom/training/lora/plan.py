"""What a run of adapter training does on any engine before and beside its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.parse import to_dict
from soundloom.datasets.examples import Dataset
from soundloom.errors import TrainingError
from soundloom.lora.adapter import Adapter, ModuleAdapter
from soundloom.lora.bases import read_bases, with_bases
from soundloom.lora.guardrails import base_signature, fit
from soundloom.lora.modules import base_weights
from soundloom.training.lora.checks import DataReport
from soundloom.training.lora.clips import ClipSampler, triggered
from soundloom.training.lora.config import LoraConfig
from soundloom.training.lora.folder import RunFolder
from soundloom.training.lora.previews import PreviewRequest
from soundloom.training.lora.setup import Encoder, TrainingSet, generative_config, prepare_set
from soundloom.training.lora.start import start_adapter

Checked = tuple[Dataset, DataReport]


@dataclass(frozen=True)
class RunPlan:
    """The model, the data and the settings of a run, and what follows from them.

    `start` is an adapter to train on, `bases` a file of singular vectors for -xs types.
    """

    checkpoint: Checkpoint
    config: LoraConfig
    folder: RunFolder
    encoder: Encoder
    data: Checked
    held_out: Checked | None = None
    start: Adapter | None = None
    bases: Path | None = None

    def prepare_set(self) -> TrainingSet:
        """Fill the caches, and load clips and texts from them. Raises TrainingError."""
        return prepare_set(self.checkpoint, self.data, self.held_out, self.folder, self.encoder, self.config)

    def record(self, prepared: TrainingSet, engine: str) -> dict[str, Any]:
        """Return what the folder records of the run, and a resumed run must match."""
        adapter = to_dict(self.config.adapter)
        adapter["start"] = self.start.sha256 if self.start else None
        return {
            "base": {"model": self.checkpoint.name, "fingerprint": self.checkpoint.fingerprint},
            "data": _data_record(prepared),
            "adapter": adapter,
            "seed": self.config.loop.seed,
            "engine": engine,
            "settings": to_dict(self.config),
        }

    def about(self, prepared: TrainingSet) -> dict[str, Any]:
        """Return what the adapter's file says of its base model and its data: counts and hashes, never paths."""
        return {
            "base_model": self.checkpoint.name,
            "base_signature": base_signature(base_weights(self.checkpoint)),
            "dataset": _data_record(prepared),
            "seconds": prepared.seconds / max(1, len(prepared.clips)),
        }

    def start_modules(self) -> dict[str, ModuleAdapter]:
        """Return the layers that training starts from, new ones or those of an adapter."""
        weights, config = base_weights(self.checkpoint), self.config
        chosen = {name: weights[name] for name in config.adapter.layers(list(weights))}
        if self.start is None:
            bases = read_bases(self.bases) if self.bases else None
            return start_adapter(chosen, config.adapter, config.loop.seed, bases)
        start = with_bases(self.start, weights, self.bases, training_weights=weights)
        return dict(require_fitting(start, config, chosen, self.checkpoint.name).modules)

    def sampler(self, prepared: TrainingSet) -> ClipSampler:
        """Return what draws the batches of steps."""
        config, model = self.config, generative_config(self.checkpoint)
        return ClipSampler(
            prepared.clips, prepared.bank, prepared.silence, model, config.data, config.step, config.loop.seed
        )

    def preview_request(self, prepared: TrainingSet) -> PreviewRequest:
        """Return the prompts of previews: the chosen ones, or the first captions."""
        wanted, trigger = self.config.previews, self.config.data.trigger
        captions = dict.fromkeys(triggered(clip.captions[0], trigger) for clip in prepared.clips)
        return PreviewRequest(wanted.prompts or list(captions), wanted)


def _data_record(prepared: TrainingSet) -> dict[str, Any]:
    return {"clips": len(prepared.clips), "seconds": round(prepared.seconds, 3), "sha256": prepared.digest}


def require_fitting(start: Adapter, config: LoraConfig, weights: Mapping[str, Any], model: str) -> Adapter:
    """Return an adapter to train on, its layers those that are trained. Raises TrainingError or MismatchError."""
    wanted = config.adapter
    if (start.type, start.rank) != (wanted.type, wanted.rank):
        raise TrainingError(
            f"{start.name} is a {start.type} adapter of rank {start.rank}, and {wanted.type} of rank {wanted.rank} is "
            "to be trained",
            "leave out --type and --rank, or change it first with soundloom lora resize or convert",
        )
    fitted = fit(start, weights, model)
    missing = [name for name in weights if name not in fitted.modules]
    if missing:
        raise TrainingError(
            f"{start.name} lacks {len(missing)} of the layers to train, the first {missing[0]}",
            "choose the --scope, --include and --exclude that it was trained with",
        )
    return fitted
