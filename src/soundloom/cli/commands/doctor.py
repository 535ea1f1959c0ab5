"""`soundloom doctor`: report hardware, engines, and models, and generate a test clip."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundloom.audio.playback import find_player
from soundloom.checkpoints.installed import installed_layouts
from soundloom.cli.loading import named_entry, open_model
from soundloom.cli.options.model import ModelOptions, PrecisionOptions
from soundloom.cli.options.output import JsonOptions
from soundloom.cli.terminal.results import print_results
from soundloom.config.catalogue import CATALOGUE
from soundloom.cores import count_cores
from soundloom.engines.registry import ENGINES, engine_class
from soundloom.errors import AudioError, EngineError, SoundloomError
from soundloom.memory import total_memory
from soundloom.version import __version__

if TYPE_CHECKING:
    from soundloom.pipeline.stable_audio.model import Model

PACKAGES = ("numpy", "torch", "mlx", "soundfile", "soxr", "mutagen", "sentencepiece", "huggingface_hub")
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16")
CHECK_PROMPT, CHECK_SECONDS, CHECK_SEED = "kick drum loop, 129 BPM", 1.0, 7


@dataclass(frozen=True)
class Options(ModelOptions, PrecisionOptions, JsonOptions):
    """Report versions, engines, processor, memory, models, and players, and generate a second of audio as a check.

    The check is skipped if the model is not installed. If it fails, the exit code is 1.
    """


def run(options: Options) -> int:
    facts: dict[str, Any] = {
        "versions": _versions(),
        "engines": _engines(),
        "machine": _machine(),
        "storage": _storage(),
        "models": _models(),
        "tools": _tools(),
        "check": _check(options),
    }
    lines = [line for title, values in facts.items() for line in _lines(title, values)]
    print_results(facts if options.json else lines)
    return 1 if "failed" in facts["check"] else 0


def _lines(title: str, values: dict[str, Any]) -> list[str]:
    return [title, *(f"  {name:<16} {value}" for name, value in values.items())]


def _versions() -> dict[str, str]:
    found = {"soundloom": __version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _engines() -> dict[str, str]:
    found = {}
    for name in ENGINES:
        try:
            engine_class(name)
            found[name] = "available"
        except EngineError as error:
            found[name] = str(error).splitlines()[0]
    return found


def _machine() -> dict[str, Any]:
    features, model = _cpu()
    facts: dict[str, Any] = {"processor": model, "cores": os.cpu_count()}
    if (cores := count_cores()) is not None:
        facts["usable cores"] = str(cores)
    facts["features"] = features
    if (memory := total_memory()) is not None:
        facts["memory"] = f"{memory / 2**30:.1f} GiB"
    return facts


def _cpu() -> tuple[str, str]:
    """Return the instruction sets that speed models up, which only Linux lists, and the processor's name."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return "unknown on this system", platform.processor() or platform.machine()
    lines = [line.partition(":")[::2] for line in path.read_text(encoding="utf-8").splitlines()]
    info = {name.strip().lower(): value.strip() for name, value in lines}
    flags = info.get("flags", info.get("features", "")).split()
    features = [name for name in CPU_FEATURES if name in flags]
    return ", ".join(features) or "none that matter", info.get("model name", platform.machine())


def _storage() -> dict[str, str]:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    return {"model cache": str(cache), "free disk": f"{shutil.disk_usage(existing).free / 1e9:.1f} GB"}


def _models() -> dict[str, str]:
    """Return the layouts of installed models by name."""
    found = {entry.name: ", ".join(installed_layouts(entry)) for entry in CATALOGUE.values() if entry.public}
    return {name: layouts for name, layouts in found.items() if layouts} or {"none": "see `soundloom models`"}


def _tools() -> dict[str, str]:
    try:
        player = find_player()[0]
    except AudioError as error:
        player = str(error).splitlines()[0]
    return {"player": player, "ffmpeg": shutil.which("ffmpeg") or "not found (not needed)"}


def _check(options: Options) -> dict[str, str]:
    """Generate a second of audio; return the engine, the weights, and the time it took."""
    entry = named_entry(options.model_name)
    if entry is not None and not installed_layouts(entry):
        return {"skipped": f"{entry.name} is not installed"}
    try:
        model = open_model(options, options.transformer_precision, not options.free_models)
        weights = f"{model.name}, {model.checkpoint.layout}, {model.checkpoint.fingerprint}"
        return model.engine.describe() | {"weights": weights} | _timed(model)
    except SoundloomError as error:
        return {"failed": str(error)}


def _timed(model: Model) -> dict[str, str]:
    start = time.perf_counter()
    clip = model.generate(CHECK_PROMPT, seconds=CHECK_SECONDS, seed=CHECK_SEED)
    seconds = time.perf_counter() - start
    found = {"generated": f"{clip.seconds:g} s of audio with {model.name} in {seconds:.2f} s"}
    return found | ({"warnings": "; ".join(clip.record["warnings"])} if "warnings" in clip.record else {})
