"""Train an adapter on a tiny language model and count how far edits of unheard pieces follow their instructions.

    python benchmarks/instruct_following.py FOLDER [--base-steps 600] [--steps 2500] [--held-out 24]

The codec is as simple as can be: a code is the energy of one of four bands of frequency in one frame. What a stem has
of an edit is measured in those energies: the edit's are explained as a sum of the piece's stems, and the share of the
stem that the instruction names is compared before and after. It takes some minutes; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from soundloom.autoregressive.generation import Request, generate, steps
from soundloom.autoregressive.sampling import GREEDY
from soundloom.config.musicgen import InstructConfig, LMConfig
from soundloom.datasets.synthetic.signals import SAMPLE_RATE
from soundloom.datasets.synthetic.stems import PLAYERS, WORDS, Task, draw_edit
from soundloom.engines.torch.decoding import Decoding
from soundloom.engines.torch.musicgen import MusicGenLM
from soundloom.training.config import LoopConfig
from soundloom.training.instruct import Editor, Edits, InstructStage, InstructTrainingConfig, MusicStage
from soundloom.training.loop import Run

HOP = SAMPLE_RATE // 12  # samples of a frame
BANDS = (0, 150, 700, 3000, SAMPLE_RATE // 2)  # Hz
LEVELS, LEVEL_DB, FLOOR_DB = 16, 4.0, -56.0  # codes of a band: their number, the step, the first
SECONDS = 2.0
VOCABULARY = (*WORDS.values(), *(f"{stem}." for stem in PLAYERS))
LM = LMConfig(
    hidden_size=96, num_hidden_layers=3, num_attention_heads=6, ffn_dim=384, vocab_size=LEVELS,
    text_width=len(VOCABULARY),
)  # fmt: skip
ADAPTER = InstructConfig(max_frames=32, lora_rank=8, lora_alpha=16)


def energies(sounds: np.ndarray) -> np.ndarray:
    """Power (b, band, t) of sounds (b, n) in each band and frame."""
    frames = sounds.shape[-1] // HOP
    spectra = np.abs(np.fft.rfft(sounds[..., : frames * HOP].reshape(-1, frames, HOP))) ** 2 / HOP**2
    edges = np.array(BANDS) * HOP // SAMPLE_RATE
    return np.stack([spectra[..., low:high].sum(-1) for low, high in pairwise(edges)], axis=1)


def encode(sounds: np.ndarray) -> np.ndarray:
    """Codes (b, band, t) of sounds (b, n)."""
    decibels = 10 * np.log10(energies(sounds) + 1e-12)
    return np.clip(np.round((decibels - FLOOR_DB) / LEVEL_DB), 0, LEVELS - 1).astype(np.int64)


def decode(codes: np.ndarray) -> np.ndarray:
    """Power (b, band, t) of codes; the lowest is silence."""
    return np.where(codes > 0, 10 ** ((FLOOR_DB + LEVEL_DB * codes) / 10), 0)


def embed(instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (b, 2, words) of the two words that matter."""
    words = [instruction.split()[-2:] for instruction in instructions]
    rows = [[[word == known for known in VOCABULARY] for word in pair] for pair in words]
    return np.array(rows, np.float32), np.ones((len(words), 2), bool)


def share(power: np.ndarray, stems: dict[str, np.ndarray], name: str) -> float:
    """Part of power (band, t) that a stem explains, where all stems together explain it best."""
    parts = np.stack([energies(stem[None])[0] for stem in stems.values()]).reshape(len(stems), -1)
    target, weights = power.reshape(-1), np.full(len(stems), 1.0)
    for _ in range(300):  # multiplicative updates keep the weights from falling below nothing
        weights *= (parts @ target + 1e-15) / (parts @ (weights @ parts) + 1e-15)
    explained = weights * parts.sum(1)
    return float(explained[list(stems).index(name)] / max(explained.sum(), 1e-15))


def edited(lm: MusicGenLM, editor: Editor, before: np.ndarray, wish: str) -> np.ndarray:
    """Codes (q, t) after an edit of codes before (q, t), the likeliest."""
    request = Request(1, before.shape[-1], GREEDY, guidance=2.0)
    hidden, mask = (torch.from_numpy(array) for array in embed([wish]))
    with torch.inference_mode():
        prefixes = editor.cp_transformer(lm, torch.from_numpy(before[None]))
        decoding = Decoding(lm, lm.read(hidden, mask), steps(LM, request), True, prefixes)
    *_, last = generate(LM, request, decoding)
    return last.codes[0]


def judge(lm: MusicGenLM, editor: Editor, edits: Edits, held_out: int) -> Iterator[str]:
    """Yield, for each task, the share of the named stem before, after the edit, and in the true result."""
    for task in WORDS:
        rows = []
        for number in range(held_out):
            rng = np.random.default_rng([number, 99])  # no piece of the training
            stems = edits.render(rng)
            edit = draw_edit(stems, rng, task)
            before = encode(edit.before[None])[0]
            after = edited(lm, editor, before, edit.instruction)
            powers = decode(before), decode(after), decode(encode(edit.after[None])[0])
            rows.append([share(power, stems, edit.stem) for power in powers])
        yield line(task, np.array(rows))


def line(task: Task, shares: np.ndarray) -> str:
    """Describe the shares (edits, 3) of one task."""
    before, after, wanted = shares.mean(0)
    right = (shares[:, 1] < shares[:, 0]).mean() if task == "remove" else (shares[:, 1] > shares[:, 0]).mean()
    return f"{task:8} share of the stem {before:.2f} -> {after:.2f} (true {wanted:.2f}), right in {right:.0%} of edits"


def config(steps_: int, batch: int = 16) -> InstructTrainingConfig:
    """Settings of both trainings."""
    loop = LoopConfig(steps_, 2e-3, 1e-4, warmup_steps=50, weight_decay=0.01, save_every=100, log_every=100)
    return InstructTrainingConfig(loop, batch=batch, seconds=SECONDS, pieces=96, text_dropout=0.15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--held-out", type=int, default=24)
    args = parser.parse_args()
    torch.manual_seed(0)
    lm = MusicGenLM(LM)
    edits = Edits(config(args.base_steps), encode, embed)
    base, adapter = args.folder / "base", args.folder / "adapter"
    for folder in (base, adapter):
        folder.mkdir(parents=True, exist_ok=True)
    Run(MusicStage(lm, edits), config(args.base_steps).loop, base).train()
    editor = Editor(lm, ADAPTER)
    Run(InstructStage(editor, edits, config(args.steps)), config(args.steps).loop, adapter).train()
    editor.eval()
    for text in judge(editor.merge(), editor, edits, args.held_out):
        print(text, flush=True)


if __name__ == "__main__":
    main()
