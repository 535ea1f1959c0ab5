"""Open a dataset of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from soundloom.datasets.examples import Dataset, list_files
from soundloom.datasets.folders import Folder
from soundloom.datasets.latents import LatentFolder
from soundloom.datasets.webdataset import Shards
from soundloom.errors import RequestError

KINDS: dict[str, Callable[[Path], Dataset]] = {"folder": Folder, "webdataset": Shards, "latents": LatentFolder}


def open_dataset(path: str | Path, kind: str | None = None) -> Dataset:
    """Open a folder of sound files, WebDataset shards or stored latents: one of KINDS, by default by what is there.

    Raises RequestError when the path does not exist.
    """
    root = Path(path)
    return KINDS[kind or _find_kind(root)](root)


def _find_kind(root: Path) -> str:
    if root.is_file() and ".tar" not in root.suffixes:
        raise RequestError(f"{root} is a single file, not a dataset", "name its folder, or .tar shards")
    if root.is_file() or (root.is_dir() and next(list_files(root, ".tar"), None)):
        return "webdataset"
    if not root.is_dir():
        raise RequestError(f"there is no folder or file {root}", "name a folder of sound files, or .tar shards")
    return "latents" if next(list_files(root, ".npy"), None) else "folder"
