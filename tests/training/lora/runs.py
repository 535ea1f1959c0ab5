"""Small runs of adapter training: a model with random weights, a few sounds, and short settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.lora.adapter import Adapter
from soundloom.pipeline.load import load_stable_audio
from soundloom.training.config import LoopConfig
from soundloom.training.loop.distributed import Distributed
from soundloom.training.loop.logging import Callback
from soundloom.training.lora.config import AdapterConfig, DataConfig, LoraConfig, PreviewConfig
from soundloom.training.lora.folder import RunFolder
from soundloom.training.lora.plan import RunPlan
from soundloom.training.lora.run import LoraRun
from soundloom.training.lora.setup import Encoder, check

RATE = 44100
LOOP = LoopConfig(
    steps=6,
    learning_rate=1e-2,
    final_learning_rate=1e-2,
    warmup_steps=0,
    schedule="constant",
    ema=0.0,
    save_every=2,
    log_every=2,
)
CONFIG = LoraConfig(
    loop=LOOP,
    name="style",
    adapter=AdapterConfig(rank=2),
    data=DataConfig(batch_size=2),
    previews=PreviewConfig(every=0),
    measure_every=2,
)


def write_sounds(folder: Path, seconds: Sequence[float] = (0.9, 2.0, 1.3), seed: int = 0) -> Path:
    """Write tones with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number, length in enumerate(seconds):
        t = np.arange(int(length * RATE)) / RATE
        tone = 0.4 * np.sin(2 * np.pi * rng.uniform(100, 900) * t) + 0.02 * rng.standard_normal(len(t))
        soundfile.write(folder / f"{number}.wav", np.stack([tone, tone], 1).astype(np.float32), RATE, subtype="FLOAT")
        (folder / f"{number}.txt").write_text(f"a tone, number {number}", encoding="utf-8")
    return folder


def make_run(
    model: str | Path,
    out: Path,
    sounds: Path,
    config: LoraConfig = CONFIG,
    held_out: Path | None = None,
    start: Adapter | None = None,
    engine: Literal["torch", "mlx"] = "torch",
    **options: Any,
) -> Any:
    """Return a run on an engine."""
    checkpoint = open_checkpoint(model)
    out.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(lambda: load_stable_audio(model, precision="fp32", engine=engine, keep_loaded=True))
    data = check(sounds, checkpoint.config, config.data.batch_size, False)
    others = check(held_out, checkpoint.config, 1, False) if held_out else None
    plan = RunPlan(checkpoint, config, RunFolder(out, config.name), encoder, data, others, start)
    if engine == "mlx":
        from soundloom.training.lora.mlx.run import MLXRun

        return MLXRun(plan, "cpu", **options)
    return LoraRun(plan, Distributed(), **options)


def stop_after(step: int) -> tuple[Callback, Callable[[], bool]]:
    """Return a callback and an `until` that stop a run after a step."""

    class Steps(Callback):
        last = 0

        def on_step_end(self, step: int) -> None:
            self.last = step

    steps = Steps()
    return steps, lambda: steps.last >= step


def with_loop(config: LoraConfig = CONFIG, **changes: Any) -> LoraConfig:
    return replace(config, loop=replace(config.loop, **changes))
