"""Estimate the memory that a model needs, from the number of its weights; it is known before anything is loaded."""

from __future__ import annotations

import math
import platform
import shutil
import sys
from functools import cache
from pathlib import Path

from soundloom.checkpoints.musicgen.shapes import musicgen_shapes
from soundloom.checkpoints.stable_audio.shapes import Shapes, model_shapes, t5gemma_shapes
from soundloom.config.catalogue import PUBLISHED_TEXT_ENCODER, find_entry
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.parse import parse
from soundloom.memory import total_memory
from soundloom.serving.jobs.device import Device

PROGRAM_BYTES = 400_000_000  # PyTorch, Python, and mini
SMALL = 10**8  # weights: mini is smaller, and PROGRAM_BYTES has room for its clips
CLIP_BYTES = 250_000_000  # what one clip of average length takes beside the weights
# Of a weight. In 8 bits, only the layers of the transformer have one byte.
VALUE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.25, "fp8": 1.25}
STORED_BYTES = 2.0  # of a weight of T5Gemma, which stays as it is in its file
CPU_INFO = Path("/proc/cpuinfo")


def memory_needed(name: str, device: Device) -> int | None:
    """Return about how many bytes a model of the catalogue needs on a device; None for other models."""
    found = _weights(name)
    if found is None:
        return None
    (weights, text), width = found, VALUE_BYTES[_precision(device, is_music=not found[1])]
    clip = CLIP_BYTES if weights > SMALL else 0
    return round(weights * width + text * min(width, STORED_BYTES)) + PROGRAM_BYTES + clip


def memory_of(device: Device) -> int | None:
    """Return the bytes of memory of a device; None while it is unknown."""
    if device.memory is not None:
        return device.memory
    return total_memory() if _is_cpu(device) or _is_apple(device) else None


@cache
def _weights(name: str) -> tuple[int, int] | None:
    """Return how many weights a model has without its text encoder, and how many that has."""
    entry = find_entry(name.partition("@")[0])
    if entry is None:
        return None
    if entry.is_musicgen:
        return _count(musicgen_shapes(parse(MusicGenConfig, entry.config()))), 0
    text = _count(t5gemma_shapes(PUBLISHED_TEXT_ENCODER)) if entry.sources else 0
    return _count(model_shapes(entry.parsed_config())), text


def _count(shapes: Shapes) -> int:
    return sum(map(math.prod, shapes.values()))


def _precision(device: Device, *, is_music: bool) -> str:
    """Return the precision in which a large model will run: `auto` differs between devices."""
    if device.settings.precision in VALUE_BYTES:
        return device.settings.precision
    return _cpu_precision(is_music) if _is_cpu(device) else "fp16"


def _is_apple(device: Device) -> bool:
    is_mac = sys.platform == "darwin" and platform.machine() == "arm64"
    return is_mac and not device.settings.on_ray and "cpu" not in (device.settings.device, device.loaded.device)


def _is_cpu(device: Device) -> bool:
    if device.loaded.device:
        return device.loaded.device == "cpu"
    if device.settings.on_ray or _is_apple(device):
        return False
    has_gpu = any(shutil.which(tool) for tool in ("nvidia-smi", "rocm-smi"))
    return device.settings.device == "cpu" or (device.settings.device in (None, "auto") and not has_gpu)


@cache
def _cpu_precision(is_music: bool) -> str:
    """Return what `auto` is on this processor: 8 bits if it multiplies them natively; for MusicGen rather BF16."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "fp32"
    native = [name for name, flag in (("int8", "avx512_vnni"), ("bf16", "avx512_bf16")) if flag in text]
    return native[-1 if is_music else 0] if native else "fp32"
