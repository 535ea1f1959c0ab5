"""Train an adapter on a tiny language model, and measure how well edits of held-out pieces follow instructions.

    python benchmarks/instruct_following.py FOLDER [--stems bands] [--base-steps 400] [--steps 1500] [--held-out 50]

The codec is minimal: a token is the energy of one of four frequency bands in one frame. The energies of an edit are
explained as a sum of the piece's stems, and the share of the stem that the instruction names is compared before and
after. Preserved stems are compared token by token with the true result where it is not silent, and once more with the
adapter conditioned on another piece. A run takes minutes, and an interrupted one resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.config.musicgen.model import InstructConfig, LMConfig
from soundloom.config.musicgen.sampling import GREEDY
from soundloom.datasets.synthetic.sounds.signals import SAMPLE_RATE, samples
from soundloom.datasets.synthetic.sounds.stems import (
    SLOT_SECONDS,
    STEMS,
    TASK_VERBS,
    Kind,
    StemEdit,
    Stems,
    Task,
    sample_edit,
)
from soundloom.engines.torch.musicgen.kv_cache import DecoderState
from soundloom.engines.torch.musicgen.lm import MusicGenLM
from soundloom.training.config import InstructTrainingConfig, LoopConfig
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.trainer import Trainer
from soundloom.training.stages.instruct import Editor, InstructionDataset, InstructTask, token_loss

HOP = samples(SLOT_SECONDS)  # of a frame
BANDS = (0, 200, 1000, 4000, SAMPLE_RATE // 2)  # Hz
LEVELS, LEVEL_DB, FLOOR_DB = 8, 6.0, -54.0  # codes of a band: their number, the step, the first
SECONDS = 2.0
VOCABULARY = (*TASK_VERBS.values(), *(f"{stem}." for stem in STEMS))
LM = LMConfig(
    hidden_size=96, num_hidden_layers=4, num_attention_heads=6, ffn_dim=384, vocab_size=LEVELS,
    text_width=len(VOCABULARY),
)  # fmt: skip
ADAPTER = InstructConfig(max_frames=32, lora_rank=8, lora_alpha=16)


class LanguageModelTask:
    """Train a language model from scratch on mixes, without instructions about edits."""

    def __init__(self, lm: MusicGenLM, edits: InstructionDataset) -> None:
        self.module, self.edits = lm, edits

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        """Predict the tokens of one batch of mixes."""
        edits, _, after = self.edits.sample(stream)
        hidden, mask = self.edits.embed([edit.instruction for edit in edits])
        text = self.module.condition(stream.tensor(hidden), stream.tensor(mask), mask_padding=True)
        tokens = stream.tensor(after)
        return {"loss": token_loss(self.module, tokens, text, None, tokens)}


class BandEdits(InstructionDataset):
    """Edits as band energies, and instructions as two words."""

    def encode(self, sounds: np.ndarray) -> np.ndarray:
        decibels = 10 * np.log10(energies(sounds) + 1e-12)
        return np.clip(np.round((decibels - FLOOR_DB) / LEVEL_DB), 0, LEVELS - 1).astype(np.int64)

    def embed(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        words = [instruction.split()[-2:] for instruction in instructions]
        rows = [[[word == known for known in VOCABULARY] for word in pair] for pair in words]
        return np.array(rows, np.float32), np.ones((len(words), 2), bool)


def energies(sounds: np.ndarray) -> np.ndarray:
    """Return the power (b, band, t) of audio (b, n)."""
    frames = sounds.shape[-1] // HOP
    spectra = np.abs(np.fft.rfft(sounds[..., : frames * HOP].reshape(-1, frames, HOP))) ** 2 / HOP**2
    edges = np.array(BANDS) * HOP // SAMPLE_RATE
    return np.stack([spectra[..., low:high].sum(-1) for low, high in pairwise(edges)], axis=1)


def decode(codes: np.ndarray) -> np.ndarray:
    """Return the power (band, t) of tokens; the lowest is silence."""
    return np.where(codes > 0, 10 ** ((FLOOR_DB + LEVEL_DB * codes) / 10), 0)


def share(power: np.ndarray, stems: Stems, name: str) -> float:
    """Return the part of power (band, t) that a stem explains in a least-squares fit of all stems."""
    parts = np.stack([energies(stem[None])[0] for stem in stems.values()]).reshape(len(stems), -1)
    target, weights = power.reshape(-1), np.full(len(stems), 1.0)
    for _ in range(300):  # multiplicative updates keep the weights from falling below nothing
        weights *= (parts @ target + 1e-15) / (parts @ (weights @ parts) + 1e-15)
    explained = weights * parts.sum(1)
    return float(explained[list(stems).index(name)] / max(explained.sum(), 1e-15))


class Judge:
    """Edit held-out pieces."""

    def __init__(self, edits: BandEdits, held_out: int) -> None:
        self.edits = edits
        self.cases: dict[Task, list[tuple[Stems, StemEdit]]] = {task: [] for task in TASK_VERBS}
        for task, number in ((task, number) for task in TASK_VERBS for number in range(held_out)):
            rng = np.random.default_rng([number, 99])
            stems = edits.render(rng)
            self.cases[task].append((stems, sample_edit(stems, rng, task)))

    def lines(self, editor: Editor) -> Iterator[str]:
        """Yield a line per task: shares of the named stem, and preserved tokens."""
        for task, cases in self.cases.items():
            stems, edits = zip(*cases, strict=True)
            before = self.edits.encode(np.stack([edit.before for edit in edits]))
            wanted = self.edits.encode(np.stack([edit.after for edit in edits]))
            words = [edit.instruction for edit in edits]
            after = self.edit(editor, before, words)
            misled = self.edit(editor, np.roll(before, 1, axis=0), words)
            powers = zip(stems, edits, *(decode(codes) for codes in (before, after, wanted)), strict=True)
            shares = np.array([[share(power, piece, edit.stem) for power in three] for piece, edit, *three in powers])
            yield self.line(task, shares, agreement(before, after, wanted), agreement(before, misled, wanted))

    def edit(self, editor: Editor, before: np.ndarray, instructions: Sequence[str]) -> np.ndarray:
        """Return the most likely tokens (b, q, t) for edits of tokens (b, q, t)."""
        request = TokenRequest(len(before), before.shape[-1], GREEDY, guidance=2.0)
        hidden, mask = (torch.from_numpy(array) for array in self.edits.embed(list(instructions)))
        with torch.inference_mode():
            adapter_kv = editor.cp_transformer(editor.lm, torch.from_numpy(before))
            decoding = DecoderState(
                editor.lm, editor.lm.condition(hidden, mask), count_steps(LM, request), True, adapter_kv
            )
        *_, last = generate(LM, request, decoding)
        return last.tokens

    def line(self, task: Task, shares: np.ndarray, kept: float, misled: float) -> str:
        """Format the shares (edits, 3) of a task and the share of preserved tokens."""
        before, after, wanted = shares.mean(0)
        change = shares[:, 1] - shares[:, 0]
        right = (change < 0).mean() if task == "remove" else (change > 0).mean()
        stem = f"share of the stem {before:.2f} -> {after:.2f} (true {wanted:.2f}), right in {right:.0%} of edits"
        return f"{task:8} {stem}; kept codes {kept:.0%}, hearing another piece {misled:.0%}"


def agreement(before: np.ndarray, after: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of preserved tokens among those that should be, without silence."""
    kept = (wanted == before) & (wanted > 0)
    return float((after == wanted)[kept].mean())


def config(steps_: int, stems: Kind) -> InstructTrainingConfig:
    """Return the configuration of both trainings."""
    loop = LoopConfig(
        steps_, 3e-3, 1e-4, warmup_steps=30, weight_decay=0.0, ema=0.99, save_every=100, log_every=100
    )  # fmt: skip
    return InstructTrainingConfig(loop, ADAPTER, stems, batch_size=16, seconds=SECONDS, pieces=128, text_dropout=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stems", choices=("bands", "music"), default="bands")
    parser.add_argument("--base-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--held-out", type=int, default=50)
    args = parser.parse_args()
    torch.manual_seed(0)
    lm, base, settings = MusicGenLM(LM), config(args.base_steps, args.stems), config(args.steps, args.stems)
    edits = BandEdits(settings)
    for name in ("base", "adapter"):
        (args.folder / name).mkdir(parents=True, exist_ok=True)
    Trainer(LanguageModelTask(lm, edits), base.loop, args.folder / "base").train()
    editor, judge = Editor(lm, ADAPTER), Judge(edits, args.held_out)
    for text in judge.lines(editor):
        print(f"untrained  {text}", flush=True)
    Trainer(InstructTask(editor, edits, settings), settings.loop, args.folder / "adapter").train()
    for text in judge.lines(editor):
        print(f"trained    {text}", flush=True)


if __name__ == "__main__":
    main()
