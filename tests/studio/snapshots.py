"""Pictures and trees of roles that are stored and compared; SOUNDLOOM_UPDATE_STUDIO=1 stores them again."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PICTURES = ROOT / "docs" / "images"
TREES = Path(__file__).parent / "aria"
CELL = 16  # pixels of a side of what is compared: fonts differ between machines, layouts do not
MAX_DIFFERENCE, MAX_CHANGED = 0.12, 0.1  # of the range of a cell, and the share of cells
COLORS = 128
FONT = "DejaVu Sans"  # of the stored pictures
RENEW = "look at it, and store it again with SOUNDLOOM_UPDATE_STUDIO=1"


def updating() -> bool:
    return os.environ.get("SOUNDLOOM_UPDATE_STUDIO") == "1"


def compare_picture(name: str, png: bytes) -> None:
    """Compare a screenshot with the stored one, coarsely."""
    path = PICTURES / f"studio-{name}.png"
    found = Image.open(io.BytesIO(png)).convert("RGB")
    if updating():
        path.parent.mkdir(exist_ok=True)
        found.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        return
    assert path.exists(), f"there is no picture {path.name}: {RENEW}"
    if font() != FONT:
        return  # with letters of other widths, lines break elsewhere
    stored = Image.open(path).convert("RGB")
    assert stored.size == found.size, f"{path.name} has another size: {RENEW}"
    difference = np.abs(_cells(stored) - _cells(found)).max(axis=-1)
    changed = float((difference > MAX_DIFFERENCE).mean())
    assert changed <= MAX_CHANGED, f"{100 * changed:.0f} % of {path.name} look different: {RENEW}"


@cache
def font() -> str:
    """Return the name of the font that pages are drawn with, or an empty text."""
    if shutil.which("fc-match") is None:
        return ""
    command = ["fc-match", "--format=%{family}", "sans-serif"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def compare_tree(name: str, text: str) -> None:
    """Compare the tree that a screen reader is given with the stored one."""
    compare_text(TREES / f"{name}.yml", text)


def compare_text(path: Path, text: str) -> None:
    """Compare a text with a stored file."""
    if updating():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        return
    assert path.exists(), f"there is no {path.name}: {RENEW}"
    assert path.read_text(encoding="utf-8").rstrip("\n").splitlines() == text.splitlines(), f"{path.name}: {RENEW}"


def _cells(image: Image.Image) -> np.ndarray:
    size = (max(1, image.width // CELL), max(1, image.height // CELL))
    return np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32) / 255
