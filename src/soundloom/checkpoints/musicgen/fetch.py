"""Open MusicGen models by name: download them, and convert pickled ones to safetensors once."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from soundloom.atomic import atomic_folder
from soundloom.checkpoints.hashes import write_hashes
from soundloom.checkpoints.hub.cache import sources_needed
from soundloom.checkpoints.hub.fetch import DownloadKwargs, fetch_folders
from soundloom.checkpoints.musicgen.components import CODEC_PICKLE
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint, is_musicgen, open_musicgen
from soundloom.checkpoints.musicgen.readers import OWN_CONFIG, AuxiliaryFolders
from soundloom.checkpoints.musicgen.save import save_musicgen
from soundloom.config.catalogue import find_entry, require_entry
from soundloom.errors import ModelNotFoundError
from soundloom.folders import cache_folder, expanded

_PICKLED = ("audiocraft", "instruct")


def is_music(source: str | Path) -> bool:
    """Whether a catalogue name, folder or file is a MusicGen model."""
    entry = find_entry(str(source).partition("@")[0]) if isinstance(source, str) else None
    if entry is not None:
        return entry.is_musicgen
    path = expanded(source)
    return path.exists() and is_musicgen(path)


def open_music(source: str | Path, **options: Unpack[DownloadKwargs]) -> MusicGenCheckpoint:
    """Open a catalogue name (`instruct-musicgen`, or `instruct-musicgen@int4` for another layout), a folder or a file.

    `options` are for downloads. Raises ModelNotFoundError, ConfigError, CheckpointError or
    DownloadError.
    """
    name, _, layout = str(source).partition("@")
    path = expanded(source)
    if not (isinstance(source, str) and find_entry(name)) and path.exists():
        if not is_musicgen(path):
            raise ModelNotFoundError(f"{path} is not a MusicGen model", "see docs/musicgen.md for the files it needs")
        return open_musicgen(path)
    entry, layout = require_entry(name), layout or "published"
    if not entry.is_musicgen:
        raise ModelNotFoundError(f"{entry.name} is not a MusicGen model", "use instruct-musicgen or musicgen-small")
    folders = fetch_folders(entry, layout, **options)
    auxiliary_folders = {
        place.repo: folder for place, folder in zip(sources_needed(entry, layout)[1:], folders[1:], strict=True)
    }
    codec = next((folder for folder in auxiliary_folders.values() if (folder / CODEC_PICKLE).is_file()), None)
    auxiliary = AuxiliaryFolders(t5=auxiliary_folders.get("google-t5/t5-base"), codec=codec)
    return _as_safetensors(open_musicgen(folders[0], auxiliary, entry.name, entry.license))


def _as_safetensors(checkpoint: MusicGenCheckpoint) -> MusicGenCheckpoint:
    """Convert a pickled model to soundloom's own layout in the cache, when it is first opened."""
    if checkpoint.layout not in _PICKLED:
        return checkpoint
    folder = cache_folder() / "converted" / f"{checkpoint.name}-{checkpoint.fingerprint}"
    if not (folder / OWN_CONFIG).is_file():
        with atomic_folder(folder) as new:
            save_musicgen(new, checkpoint.config, dict(checkpoint.tensors), checkpoint.tokenizer)
            write_hashes(new)
    return open_musicgen(folder, name=checkpoint.name, license=checkpoint.license)
