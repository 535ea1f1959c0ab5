"""Which kind of dataset a path holds."""

from __future__ import annotations

from pathlib import Path

from soundloom.datasets.folders import Folder
from soundloom.datasets.items import Dataset, visible
from soundloom.datasets.latents import LatentFolder
from soundloom.datasets.webdataset import Shards
from soundloom.errors import RequestError


def open_dataset(path: str | Path) -> Dataset:
    """Shards where there are .tar files, stored latents where there are .npy files, else a folder of sound files.

    Raises RequestError where nothing of that kind is found.
    """
    root = Path(path)
    if root.is_file() or (root.is_dir() and next(visible(root, ".tar"), None)):
        return Shards(root)
    if not root.is_dir():
        raise RequestError(f"there is no folder or file {root}", "name a folder of sound files, or .tar shards")
    if next(visible(root, ".npy"), None):
        return LatentFolder(root)
    return Folder(root)
