"""The stage that makes an editor of a MusicGen model, and the model folder that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soundloom.atomic import atomic_folder
from soundloom.audio.resample import resample
from soundloom.checkpoints.formats.packed import require_unpacked
from soundloom.checkpoints.formats.tensors import Tensors, from_array
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.musicgen.layouts import merge_lora
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.musicgen.save import save_musicgen
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, LM_PREFIX
from soundloom.config.musicgen.model import InstructConfig, MusicGenConfig
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE
from soundloom.datasets.synthetic.sounds.stems import STEMS, TASK_VERBS, instruction
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.musicgen.adapter import CPTransformer
from soundloom.engines.torch.musicgen.engine import TorchMusicEngine
from soundloom.engines.torch.musicgen.lm import MusicGenLM
from soundloom.errors import RequestError
from soundloom.text.t5_tokens import T5Tokenizer
from soundloom.training.loop.guards import require_no_divergence
from soundloom.training.loop.task import TrainingTask
from soundloom.training.stages.context import StageContext
from soundloom.training.stages.export import require_replaceable
from soundloom.training.stages.instruct import Editor, InstructionDataset, InstructTask, InstructTrainingConfig
from soundloom.training.stages.run import run_stage

NAME = "instruct"  # of the stage, in the recipe and in the work folder
_UNUSED = ("recompute", "compile", "shard")  # ways of training that this stage does not have


@dataclass(frozen=True, kw_only=True)
class InstructContext(StageContext):
    """What the stage works with: a MusicGen model, with or without an adapter to begin from."""

    checkpoint: MusicGenCheckpoint

    @cached_property
    def config(self) -> InstructTrainingConfig:
        """What the recipe says."""
        return self.recipe.read(InstructTrainingConfig, NAME)

    @cached_property
    def model(self) -> MusicGenConfig:
        """The configuration of the editor: an adapter that is there keeps its sizes."""
        known = self.checkpoint.config
        sizes = known.instruct or self.config.adapter
        trained = InstructConfig(
            sizes.max_frames, sizes.lora_rank, sizes.lora_alpha, window=self.config.seconds, instruments=STEMS
        )
        return replace(known, instruct=trained)

    @property
    def adapter(self) -> InstructConfig:
        assert self.model.instruct is not None
        return self.model.instruct


def train_editor(context: InstructContext) -> bool:
    """Train adapter and LoRA; say whether the training is finished. Raises RequestError for what cannot be."""
    _require_trainable(context)

    def build(fresh: bool) -> tuple[TrainingTask, None]:
        context.run_dir.stage_folder(NAME).mkdir(parents=True, exist_ok=True)
        editor = _open_editor(context)
        return InstructTask(editor, _Heard(context), context.config), None

    return run_stage(context, NAME, context.config, context.config.loop, build)


def _require_trainable(context: InstructContext) -> None:
    checkpoint, longest = context.checkpoint, context.adapter.max_frames / context.model.frame_rate
    if given := [f"--{name}" for name in _UNUSED if getattr(context.distributed.config, name)]:
        raise RequestError(f"train {NAME} has no use for {', '.join(given)}", "leave them out")
    require_unpacked(checkpoint.name, checkpoint.layout, checkpoint.tensors)
    if not 0 < context.config.seconds <= longest:
        raise RequestError(f"the adapter hears up to {longest:g} s, not {context.config.seconds:g}", "change seconds")


def _open_editor(context: InstructContext) -> Editor:
    checkpoint, device = context.checkpoint, context.distributed.device
    what = f"{checkpoint.name}'s language model"
    lm = load_module(lambda: MusicGenLM(checkpoint.config.lm), checkpoint.component(LM_PREFIX), what, device)
    editor = Editor(lm, context.adapter)
    if known := checkpoint.component(ADAPTER_PREFIX):
        adapter = load_module(lambda: CPTransformer(lm.config, context.adapter), known, f"{checkpoint.name}'s adapter")
        editor.cp_transformer.load_state_dict(adapter.state_dict())
    return editor.to(device)


class _Heard(InstructionDataset):
    """Edits as the model's own codec and text encoder have them."""

    def __init__(self, context: InstructContext) -> None:
        super().__init__(context.config)
        self._rate = context.model.sample_rate
        self._engine = TorchMusicEngine(context.checkpoint, str(context.distributed.device), "fp32")
        texts = [instruction(kind, stem) for kind, stem in product(TASK_VERBS, STEMS)]
        tokens = T5Tokenizer(context.checkpoint.tokenizer, context.model.t5)(texts)
        self._reading, self._rows = (
            self._engine.encode_text(tokens.ids, tokens.mask),
            {t: i for i, t in enumerate(texts)},
        )
        self._engine.free("text")

    def encode(self, sounds: np.ndarray) -> np.ndarray:
        return self._engine.encode(resample(sounds, SAMPLE_RATE, self._rate)[:, None])

    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows[text] for text in instructions]
        return self._reading.hidden[rows], self._reading.mask[rows]


def export_editor(context: InstructContext, folder: Path) -> None:
    """Write the editor as a model folder, LoRA merged; an older one gives way when the new one is complete."""
    require_no_divergence(context.run_dir.folder)
    state = context.run_dir.read_trained(NAME)
    tensors = {**context.checkpoint.tensors, **_canonical(state)}
    merged = merge_lora(tensors, context.adapter.lora_alpha)
    require_replaceable(folder)
    with atomic_folder(folder) as new:
        save_musicgen(new, context.model, merged, context.checkpoint.tokenizer)
        write_hashes(new)


def _canonical(state: dict[str, Tensor]) -> Tensors:
    """An editor's weights, LoRA named as in the language model that it belongs to."""
    tensors: Tensors = {}
    for name, value in state.items():
        if name.startswith("lora."):
            _, layer, projection, part = name.split(".")
            name = f"{LM_PREFIX}transformer.layers.{layer}.cross_attention.{projection}.{part}.weight"
        tensors[name] = from_array(name, value.detach().to(torch.float32).numpy())
    return tensors
