"""Remove downloaded models from the hub's cache, except the files that other models need."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from soundloom.checkpoints.hub.cache import cache_folder, path_in_repo, sources_needed
from soundloom.checkpoints.hub.transfer import PART
from soundloom.checkpoints.installed import installed_layouts
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import ModelEntry
from soundloom.folders import cache_folder as own_cache


def removable_bytes(entry: ModelEntry) -> int:
    """Return the bytes that `remove_model` would free."""
    files = {path.resolve() for path in _removable(entry)}
    return sum(path.stat().st_size for path in files) + sum(map(_folder_bytes, _converted(entry)))


def remove_model(entry: ModelEntry) -> int:
    """Remove the files of a model that no other installed model needs, also partial ones; return the bytes freed."""
    size, files = removable_bytes(entry), _removable(entry)
    for folder in _converted(entry):
        shutil.rmtree(folder)
    _remove_files(files)
    for path in _unfinished(entry):
        size += path.stat().st_size
        path.unlink()
    return size


def _removable(entry: ModelEntry) -> set[Path]:
    others = [other for other in CATALOGUE.values() if other.name != entry.name and other.public and other.sources]
    needed = {path for other in others for path in _files(other, installed_layouts(other))}
    return _files(entry, [source.layout for source in entry.sources]) - needed


def _files(entry: ModelEntry, layouts: Iterable[str]) -> set[Path]:
    """Return the files of a model in all snapshots of its repositories."""
    sources = [source for layout in layouts for source in sources_needed(entry, layout)]
    paths = (
        snapshot / path_in_repo(source, file)
        for source in sources
        for snapshot in (cache_folder(source.repo) / "snapshots").glob("*")
        for file in source.files
    )
    return {path for path in paths if path.is_file()}


def _unfinished(entry: ModelEntry) -> list[Path]:
    """Return what downloads that were stopped left: partial files, and whole ones that are in no snapshot."""
    folders = {cache_folder(source.repo) for layout in entry.sources for source in sources_needed(entry, layout.layout)}
    found = []
    for folder in folders:
        used = {_content(path) for path in (folder / "snapshots").rglob("*") if path.is_symlink()}
        found += [path for path in (folder / "blobs").glob("*") if path not in used and path.suffix in ("", PART)]
    return found


def _converted(entry: ModelEntry) -> list[Path]:
    """Return the copies of a pickled model as safetensors."""
    name = re.compile(re.escape(entry.name) + r"-[0-9a-f]+")
    return [folder for folder in (own_cache() / "converted").glob("*") if name.fullmatch(folder.name)]


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _remove_files(files: set[Path]) -> None:
    """Remove files of snapshots: whole snapshots by the hub's client, which knows what repositories share."""
    from huggingface_hub import constants, scan_cache_dir

    snapshots = {_snapshot_of(path) for path in files}
    whole = {one for one in snapshots if {path for path in one.rglob("*") if path.is_file()} <= files}
    if whole:
        scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(*(one.name for one in whole)).execute()
    for path in files:
        if path.is_symlink() or path.exists():
            _remove_file(path)


def _remove_file(path: Path) -> None:
    """Remove a file of a snapshot, and its content unless another snapshot has it too."""
    snapshots = _snapshot_of(path).parent
    content = _content(path) if path.is_symlink() else None
    path.unlink()
    others = (other for other in snapshots.rglob("*") if other.is_symlink())
    if content is not None and all(_content(other) != content for other in others):
        content.unlink(missing_ok=True)


def _content(link: Path) -> Path:
    """Return the file in the folder `blobs` that a link in a snapshot names."""
    return Path(os.path.normpath(link.parent / link.readlink()))


def _snapshot_of(path: Path) -> Path:
    return next(one for one in path.parents if one.parent.name == "snapshots")
