"""Compare CUDA graph replays with eager clips on an NVIDIA GPU, and print times, lower bounds, and memory.

    python benchmarks/gpu.py [--models small-music medium] [--precision fp16] [--work FOLDER] [--json FILE]

Full-size random weights stay in a cache folder (2.8 and 7 GB). A clip is timed from text to samples on the host, with
batch size 1 and 8 steps, as the median of `--runs` replays. The lower bound is the larger of two times: the bytes that
must be read (weights in each step, text encoder and decoder once) over the measured copy bandwidth, and the operations
of matrix products and attention over the measured rate of a large product, in the precision of each part.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from soundloom.bench.cases import machine, require_weights, weights_folder
from soundloom.engines.torch.stable_audio.engine import TorchEngine
from soundloom.pipeline.load import load_stable_audio
from soundloom.pipeline.stable_audio.model import Model

PROMPT, STEPS = "kick drum loop, 120 BPM", 8
# Milliseconds of the published TensorRT runtime on an H200, by model and seconds.
GOALS = {"small-music": {5: 17, 30: 22, 120: 44}, "medium": {5: 20, 30: 50, 120: 130, 380: 430}}
GUIDED, INPAINTED = 2.2, 1.1  # times the plain clip that guidance and inpainting may take
PARITY_DB = 60.0  # signal to noise of a replayed clip against the plain one; both round in half precision


def milliseconds(call: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def rates(runs: int = 20) -> dict[str, float]:
    """Measure copy bandwidth in bytes per second, and matrix products in operations per second by dtype."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    found = {"bytes": 2e3 * source.nbytes / milliseconds(lambda: target.copy_(source), runs)}
    size = 8192
    for dtype in (torch.float32, torch.float16):
        factors = [torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2)]
        F.linear(*factors)
        found[str(dtype)] = 2e3 * size**3 / milliseconds(partial(F.linear, *factors), runs)
    return found


def operations(call: Callable[[], object]) -> int:
    """Return the operations of matrix products and attention in a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def floor(model: Model, seconds: float, rate: dict[str, float]) -> float:
    """Return a lower bound in milliseconds for these weights and operations."""
    engine, config = model.engine, model.config
    frames = int((seconds + 6) * model.sample_rate) // config.same.downsampling_ratio
    latents = np.zeros((1, config.model.io_channels, frames), np.float32)
    context = np.zeros((1, 257, config.dit.cond_token_dim), np.float32)
    duration = np.zeros((1, config.dit.global_cond_dim), np.float32)
    local = np.zeros((1, config.dit.local_add_cond_dim, 1), np.float32)
    condition = engine.condition(*map(engine.array, (context, duration, local)))
    step = operations(lambda: engine.velocity(engine.array(latents), 0.5, condition, None))
    decode = operations(lambda: engine.decode(latents, None))
    weights = {part: engine.weight_bytes(part) for part in ("text", "dit", "decoder")}
    read = weights["text"] + STEPS * weights["dit"] + weights["decoder"]
    compute = STEPS * step / rate["torch.float16"] + decode / rate["torch.float32"]
    return 1e3 * max(read / rate["bytes"], compute)


def decibels(found: np.ndarray, wanted: np.ndarray) -> float:
    noise = float(np.square(found - wanted).mean())
    return float(10 * np.log10(np.square(wanted).mean() / max(noise, 1e-30)))


def parity(model: Model) -> float:
    """Return the worst agreement of replayed clips with eager ones: plain, guided, inpainted, other length."""
    engine: Any = model.engine
    source = model.generate(PROMPT, seconds=5, seed=9)
    clips: list[Callable[[int], Any]] = [
        lambda seed: model.generate(PROMPT, seconds=5, seed=seed),
        lambda seed: model.generate(PROMPT, seconds=11, seed=seed),
        lambda seed: model.generate(PROMPT, seconds=5, seed=seed, guidance=3.0, negative_prompt="hiss"),
        lambda seed: model.inpaint(source, [(1.0, 2.0)], PROMPT, seed=seed),
        lambda seed: model.vary(source, PROMPT, noise=0.6, seed=seed),
    ]
    agreements = []
    for make in clips:
        replayed = [make(seed).audio for seed in (1, 2, 3)][-1]  # plain, recorded, replayed with another seed
        recorder, engine.graphs = engine.graphs, None
        agreements.append(decibels(replayed, make(3).audio))
        engine.graphs = recorder
    return min(agreements)


def measure(model: Model, seconds: float, runs: int, rate: dict[str, float]) -> dict[str, float]:
    """Return milliseconds of the first clip, the captured clip, and replays, and memory in gigabytes."""
    torch.cuda.reset_peak_memory_stats()

    def make(**options: Any) -> Any:
        return model.generate(PROMPT, seconds=seconds, seed=1, steps=STEPS, **options)

    first, recorded = milliseconds(make, 1), milliseconds(make, 1)
    warm = milliseconds(make, runs)
    memory = torch.cuda.max_memory_reserved() / 1e9
    source = make()
    kin: dict[str, Callable[[], Any]] = {
        "guided": lambda: make(guidance=3.0),
        "inpainted": lambda: model.inpaint(source, [(1.0, 3.0)], PROMPT, seed=1, steps=STEPS),
    }
    ratios = {}
    for name, call in kin.items():
        milliseconds(call, 2)  # plain, recorded
        ratios[name] = milliseconds(call, runs) / warm
    least = floor(model, seconds, rate)
    return {"first": first, "recorded": recorded, "warm": warm, "floor": least, **ratios, "gigabytes": memory}


def line(name: str, seconds: float, figures: dict[str, float]) -> str:
    goal = GOALS[name][int(seconds)]
    verdict = "reached" if figures["warm"] <= goal else "missed"
    return (
        f"{name:12} {seconds:4g} s  {figures['warm']:7.1f} ms, goal {goal} ({verdict}), floor {figures['floor']:.1f}, "
        f"{figures['warm'] / figures['floor']:.1f} times it; guided {figures['guided']:.2f} of {GUIDED}, inpainted "
        f"{figures['inpainted']:.2f} of {INPAINTED} times; first {figures['first']:.0f}, recorded "
        f"{figures['recorded']:.0f} ms; {figures['gigabytes']:.2f} GB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--work", type=Path, default=weights_folder())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch finds no NVIDIA GPU here")
    rate = rates()
    fast, exact = (rate[f"torch.{dtype}"] / 1e12 for dtype in ("float16", "float32"))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{rate['bytes'] / 1e12:.2f} TB/s, {fast:.0f} TFLOP/s in FP16, {exact:.0f} in FP32")
    results = []
    for name in args.models:
        model = load_stable_audio(
            require_weights(name, args.work), device="cuda", precision=args.precision, keep_loaded=True, keep_bad=True
        )
        assert isinstance(model.engine, TorchEngine)
        agreement = parity(model)
        print(f"{name}: replayed clips agree with plain ones to {agreement:.0f} dB"
              f" ({'enough' if agreement >= PARITY_DB else f'below {PARITY_DB:.0f}'})")  # fmt: skip
        for seconds in GOALS[name]:
            figures = measure(model, seconds, args.runs, rate)
            print(line(name, seconds, figures), flush=True)
            results.append({"model": name, "seconds": seconds, **figures})
        model.engine.free("text", "conditioner", "dit", "encoder", "decoder")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rates": rate, "results": results}, indent=1))


if __name__ == "__main__":
    main()
