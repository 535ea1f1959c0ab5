"""Open a dataset of any kind."""

from __future__ import annotations

from pathlib import Path

from soundloom.datasets.examples import Dataset, list_files
from soundloom.datasets.folders import Folder
from soundloom.datasets.latents import LatentFolder
from soundloom.datasets.webdataset import Shards
from soundloom.errors import RequestError


def open_dataset(path: str | Path) -> Dataset:
    """Open WebDataset shards (.tar), stored latents (.npy) or a folder of sound files, by what the path holds.

    Raises RequestError when the path does not exist.
    """
    root = Path(path)
    if root.is_file() or (root.is_dir() and next(list_files(root, ".tar"), None)):
        return Shards(root)
    if not root.is_dir():
        raise RequestError(f"there is no folder or file {root}", "name a folder of sound files, or .tar shards")
    if next(list_files(root, ".npy"), None):
        return LatentFolder(root)
    return Folder(root)
