"""Train an Instruct-MusicGen editor: a frozen language model learns to follow instructions about a sound.

The loss is the mean cross-entropy over all predicted slots of the delay pattern. Letters: b clips, q codebooks,
t frames, v tokens of a codebook, l text tokens. Source: instruct-MusicGen; for its data see `synthetic.sounds.stems`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.atomic import atomic_folder
from soundloom.audio.resample import resample
from soundloom.autoregressive import delay
from soundloom.autoregressive.positions import sinusoids
from soundloom.checkpoints.formats.packed import require_unpacked
from soundloom.checkpoints.formats.tensors import Tensors, from_array
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.musicgen.layouts import merge_lora
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.checkpoints.musicgen.save import save_musicgen
from soundloom.checkpoints.musicgen.shapes import ADAPTER_PREFIX, LM_PREFIX
from soundloom.config.musicgen.model import InstructConfig, MusicGenConfig
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE
from soundloom.datasets.synthetic.sounds.stems import (
    STEMS,
    TASK_VERBS,
    StemEdit,
    Stems,
    instruction,
    render_stems,
    sample_edit,
)
from soundloom.engines.torch.blocks import Linear
from soundloom.engines.torch.load import load_module
from soundloom.engines.torch.musicgen.adapter import CPTransformer
from soundloom.engines.torch.musicgen.engine import TorchMusicEngine
from soundloom.engines.torch.musicgen.lm import Conditioning, Layer, MusicGenLM
from soundloom.errors import RequestError
from soundloom.text.t5_tokens import T5Tokenizer
from soundloom.training.config import InstructTrainingConfig
from soundloom.training.loop.guards import require_no_divergence
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import TrainingTask
from soundloom.training.stages.context import StageContext
from soundloom.training.stages.export import require_replaceable
from soundloom.training.stages.run import run_stage

ADAPTED = ("q_proj", "v_proj")  # of cross-attention, by LoRA
CACHED_PIECES = 128
_UNSUPPORTED = ("recompute", "compile", "shard")


@dataclass(frozen=True, kw_only=True)
class InstructContext(StageContext):
    """What the stage works with: a MusicGen model, with or without an adapter to start from."""

    checkpoint: MusicGenCheckpoint

    @cached_property
    def config(self) -> InstructTrainingConfig:
        """The stage's configuration."""
        return self.recipe.read(InstructTrainingConfig, "instruct")

    @cached_property
    def model(self) -> MusicGenConfig:
        """The configuration of the editor; an existing adapter determines its sizes."""
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


def run(context: InstructContext, config: InstructTrainingConfig) -> bool:
    """Train the adapter and LoRA. Raises RequestError for models and options that cannot be trained."""
    checkpoint, longest = context.checkpoint, context.adapter.max_frames / context.model.frame_rate
    if given := [f"--{name}" for name in _UNSUPPORTED if getattr(context.distributed.config, name)]:
        raise RequestError(f"train instruct does not support {', '.join(given)}", "leave them out")
    require_unpacked(checkpoint.name, checkpoint.layout, checkpoint.tensors)
    if not 0 < config.seconds <= longest:
        raise RequestError(f"the adapter reads at most {longest:g} s, not {config.seconds:g}", "change seconds")

    def build(fresh: bool) -> tuple[TrainingTask, None]:
        context.run_dir.stage_folder("instruct").mkdir(parents=True, exist_ok=True)
        editor = _open_editor(context)
        return InstructTask(editor, EncodedInstructions(context), config), None

    return run_stage(context, "instruct", config, build)


def _open_editor(context: InstructContext) -> Editor:
    checkpoint, device = context.checkpoint, context.distributed.device
    what = f"{checkpoint.name}'s language model"
    lm = load_module(lambda: MusicGenLM(checkpoint.config.lm), checkpoint.component(LM_PREFIX), what, device)
    editor = Editor(lm, context.adapter)
    if known := checkpoint.component(ADAPTER_PREFIX):
        adapter = load_module(lambda: CPTransformer(lm.config, context.adapter), known, f"{checkpoint.name}'s adapter")
        editor.cp_transformer.load_state_dict(adapter.state_dict())
    return editor.to(device)


class LoRA(nn.Module):
    """A low-rank update of a linear layer, initially zero."""

    def __init__(self, base: Linear, config: InstructConfig) -> None:
        super().__init__()
        self.scaling = config.lora_scaling
        self.lora_A = nn.Parameter(torch.randn(config.lora_rank, base.in_features) / base.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.lora_rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class LoRALinear(nn.Module):
    """A frozen linear layer with its LoRA."""

    def __init__(self, base: Linear, lora: LoRA) -> None:
        super().__init__()
        self.base, self.lora = base, lora

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora(x)


class Editor(nn.Module):
    """An adapter, and LoRA in the cross-attention of a frozen language model."""

    def __init__(self, lm: MusicGenLM, config: InstructConfig) -> None:
        super().__init__()
        self._frozen = (lm.requires_grad_(False),)  # a tuple hides it from the parameters and the state
        self.cp_transformer = CPTransformer(lm.config, config)
        self.lora = nn.ModuleList(self._adapt(layer, config) for layer in lm.transformer)

    @property
    def lm(self) -> MusicGenLM:
        return self._frozen[0]

    def _adapt(self, layer: Layer, config: InstructConfig) -> nn.ModuleDict:
        loras = nn.ModuleDict()
        for name in ADAPTED:
            base = layer.cross_attention.get_submodule(name)
            assert isinstance(base, Linear)
            loras[name] = lora = LoRA(base, config)
            setattr(layer.cross_attention, name, LoRALinear(base, lora))
        return loras


class InstructionDataset(ABC):
    """Edits of synthetic pieces; subclasses encode audio and instructions."""

    def __init__(self, config: InstructTrainingConfig) -> None:
        self.config = config
        self._cached = lru_cache(maxsize=CACHED_PIECES)(self._numbered)

    @abstractmethod
    def encode(self, sounds: np.ndarray) -> np.ndarray:
        """Return tokens (b, q, t) of mono sounds (b, n) at 44100 Hz."""

    @abstractmethod
    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings (b, l, width) and mask (b, l) of instructions."""

    def sample(self, stream: RngStream) -> tuple[list[StemEdit], np.ndarray, np.ndarray]:
        """Return a batch of edits with their tokens before and after, (b, q, t)."""
        edits = [sample_edit(self.piece(stream.rng), stream.rng) for _ in range(self.config.batch_size)]
        return edits, self.encode(np.stack([e.before for e in edits])), self.encode(np.stack([e.after for e in edits]))

    def piece(self, rng: np.random.Generator) -> Stems:
        """Return a new piece, or one of the fixed number of training pieces."""
        if not self.config.pieces:
            return self.render(rng)
        return self._cached(int(rng.integers(self.config.pieces)))

    def _numbered(self, number: int) -> Stems:
        key = np.array([self.config.loop.seed, number], dtype=np.uint64)
        return self.render(np.random.Generator(np.random.Philox(key=key)))

    def render(self, rng: np.random.Generator) -> Stems:
        """Render a piece of the configured kind and length."""
        return render_stems(rng, self.config.seconds, self.config.stems)


class EncodedInstructions(InstructionDataset):
    """Edits encoded by the codec and the text encoder of a MusicGen model."""

    def __init__(self, context: InstructContext) -> None:
        super().__init__(context.config)
        self._rate = context.model.sample_rate
        self._engine = TorchMusicEngine(context.checkpoint, str(context.distributed.device), "fp32")
        texts = [instruction(kind, stem) for kind, stem in product(TASK_VERBS, STEMS)]
        tokens = T5Tokenizer(context.checkpoint.tokenizer, context.model.t5)(texts)
        self._embeddings = self._engine.encode_text(tokens.ids, tokens.mask)
        self._rows = {text: row for row, text in enumerate(texts)}
        self._engine.free("text")

    def encode(self, sounds: np.ndarray) -> np.ndarray:
        return self._engine.encode(resample(sounds, SAMPLE_RATE, self._rate)[:, None])

    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows[text] for text in instructions]
        return self._embeddings.hidden[rows], self._embeddings.mask[rows]


class InstructTask:
    """Predict the result of edits from their instructions, some of which are dropped for guidance."""

    def __init__(self, editor: Editor, edits: InstructionDataset, config: InstructTrainingConfig) -> None:
        self.module, self.edits, self.config = editor, edits, config

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the tokens after the edits of one batch."""
        edits, before, after = self.edits.sample(stream)
        hidden, mask = self.edits.embed([edit.instruction for edit in edits])
        present = stream.rng.random((len(edits), 1)) >= self.config.text_dropout
        text = self.module.lm.condition(stream.tensor(hidden), stream.tensor(mask & present))
        # Padding is masked as at inference; dropped instructions stay in attention as zeros.
        text = replace(text, mask=stream.tensor(mask)[:, None, None])
        tokens, source = stream.tensor(after), stream.tensor(before)
        return {"loss": token_loss(self.module.lm, tokens, text, self.module.cp_transformer, source)}


def token_loss(
    lm: MusicGenLM, tokens: Tensor, text: Conditioning, adapter: CPTransformer | None, source: Tensor
) -> Tensor:
    """Return the mean cross-entropy of tokens (b, q, t), which with an adapter are edits of `source` (b, q, t).

    The model reads the first t + 1 positions alone, so the last frames of late codebooks are not predicted.
    """
    frames = tokens.shape[-1]
    pattern = torch.from_numpy(delay.build(tokens.cpu().numpy(), lm.config.delays, lm.config.special_token))
    inputs = pattern[..., : frames + 1].to(tokens.device)
    positions = torch.arange(frames + 1, device=tokens.device)
    table = torch.from_numpy(sinusoids(frames + 1, lm.config.hidden_size)).to(tokens.device)
    adapter_kv = adapter(lm, source, training=True) if adapter is not None else None
    logits = lm.logits(lm(inputs, positions, table, text, adapter_kv=adapter_kv))[:, :, :-1]  # of positions from 1 on
    targets = inputs[:, :, 1:]
    predicted = targets != lm.config.special_token
    return F.cross_entropy(logits[predicted], targets[predicted])


def export_editor(context: InstructContext, folder: Path) -> None:
    """Write the editor as a model folder with merged LoRA; an older model is replaced when the new one is complete."""
    require_no_divergence(context.run_dir.folder)
    weights = context.run_dir.read_weights("instruct")
    tensors = {**context.checkpoint.tensors, **_canonical(weights)}
    merged = merge_lora(tensors, context.adapter.lora_alpha)
    require_replaceable(folder)
    with atomic_folder(folder) as new:
        save_musicgen(new, context.model, merged, context.checkpoint.tokenizer)
        write_hashes(new)


def _canonical(weights: dict[str, Tensor]) -> Tensors:
    """Return an editor's weights, with LoRA named after the layers of the language model."""
    tensors: Tensors = {}
    for name, value in weights.items():
        if name.startswith("lora."):
            _, layer, projection, part = name.split(".")
            name = f"{LM_PREFIX}transformer.layers.{layer}.cross_attention.{projection}.{part}.weight"
        tensors[name] = from_array(name, value.detach().to(torch.float32).numpy())
    return tensors
