"""Find the adapter files in a folder, by their beginnings: names and suffixes only limit the search."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def adapter_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
