"""Ours against others in one run, turn by turn, so that whatever slows the machine slows both.

`python -m soundloom.bench.versus CASE FOLDER` prints the figures against diffusers as JSON: the text encoder (there,
transformers'), the sampling steps of the transformer, given the conditioning, the decoder, and the clip, which is all
three. The prompt is short: a few tokens, then padding. The peer encodes all of it; our pipeline encodes one token of
it, which stands for the others in the transformer. The peer computes in float32 with PyTorch's plain attention.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from soundloom.bench.cases import Case, Figures, run_module
from soundloom.errors import SoundloomError

FRAMES_PER_SECOND, PADDING = 44100 / 4096, 6.0  # of the published models
PROMPT_TOKENS, CONTEXT = 10, 257  # tokens of a short prompt, and all: padding follows the prompt, the duration is last


def alternate(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Figures:
    """Return both medians in seconds and how many times as fast ours is, by the median of the ratios of turns."""
    turns = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
    return {
        "ours": median(own for own, _ in turns),
        "theirs": median(other for _, other in turns),
        "times_as_fast": median(other / own for own, other in turns),
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def versus_diffusers(case: Case, folder: Path) -> Figures:
    """Compare in this process; see the head of this file."""
    import numpy as np
    import torch

    from soundloom.bench.peer import peer_dit, peer_same, peer_text
    from soundloom.checkpoints.open import open_checkpoint
    from soundloom.engines.torch.engine import TorchEngine
    from soundloom.pipeline.run import decode_latents

    checkpoint = open_checkpoint(folder)
    config, random = checkpoint.config.dit, np.random.default_rng(0)  # type: ignore[union-attr]
    engine = TorchEngine(checkpoint, "cpu", case.precision)
    frames = 2 * round((case.seconds + PADDING) * FRAMES_PER_SECOND / 2)
    shapes = (1, CONTEXT, config.cond_token_dim), (1, config.global_cond_dim), (1, config.io_channels, frames)
    context, duration, x = (random.standard_normal(shape, np.float32) for shape in shapes)
    context[:, PROMPT_TOKENS:-1] = context[:, PROMPT_TOKENS : PROMPT_TOKENS + 1]
    short = np.concatenate([context[:, : PROMPT_TOKENS + 1], context[:, -1:]], axis=1)
    local = np.zeros((1, config.local_add_cond_dim, 1), np.float32)
    tensors = [torch.from_numpy(array) for array in (context, duration, x)]
    times = [1 - step / case.steps for step in range(case.steps)]
    peer, peer_codec = peer_dit(checkpoint), peer_same(checkpoint)
    ids = torch.from_numpy(random.integers(3, 1000, (1, CONTEXT - 1)))
    mask = torch.arange(CONTEXT - 1)[None] < PROMPT_TOKENS
    engine.load("text")
    peer_encoder = peer_text(TorchEngine(checkpoint, "cpu", "fp32")._module("text"))

    def encode() -> None:
        engine.encode_text(*(tensor[:, : PROMPT_TOKENS + 1].numpy() for tensor in (ids, mask)))

    @torch.inference_mode()
    def encode_peer() -> None:
        peer_encoder(input_ids=ids, attention_mask=mask.long())

    def sample() -> None:
        tokens, length, inpainting = map(engine.array, (short, duration, local))
        condition = engine.condition(tokens, length, inpainting, CONTEXT - PROMPT_TOKENS - 1, times)
        for t in times:
            engine.velocity(engine.array(x), t, condition, None)

    @torch.inference_mode()
    def sample_peer() -> None:
        for t in times:
            peer(tensors[2], torch.tensor([t]), tensors[0], tensors[1])

    @torch.inference_mode()
    def decode_peer() -> None:
        peer_codec.decode(tensors[2])

    text = alternate(encode, encode_peer, case.runs)
    engine.free("text")
    peer_encoder = None
    engine.load("dit")
    dit = alternate(sample, sample_peer, case.runs)
    engine.free("dit")
    engine.load("decoder")
    decoder = alternate(lambda: decode_latents(engine, checkpoint.config, x), decode_peer, case.runs)
    clip = {whose: text[whose] + dit[whose] + decoder[whose] for whose in ("ours", "theirs")}
    clip["times_as_fast"] = clip["theirs"] / clip["ours"]
    return {"precision": engine.precision, "text": text, "transformer": dit, "decoder": decoder, "clip": clip}


def versus_command(case: Case, folder: Path, command: str) -> Figures:
    """Compare whole processes: our command line, cold, and any other command. Raises SoundloomError if one fails."""
    ours = [sys.executable, "-m", "soundloom", "generate", "rain", "--model", str(folder), "--seed", "0", "--quiet"]
    ours += ["--seconds", f"{case.seconds:g}", "--steps", str(case.steps), "--precision", case.precision]
    ours += ["--out", str(folder / "bench.wav")]
    return alternate(lambda: _run(ours), lambda: _run(shlex.split(command)), case.runs)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SoundloomError(f"{shlex.join(command)} failed: {reason}")


def diffusers_apart(case: Case, folder: Path) -> Figures:
    """Run the comparison in a process of its own."""
    figures: Figures = json.loads(run_module("soundloom.bench.versus", json.dumps(asdict(case)), str(folder)))
    return figures


def main(arguments: list[str]) -> None:
    case, folder = arguments
    sys.stdout.write(json.dumps(versus_diffusers(Case(**json.loads(case)), Path(folder))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
