"""Find models that are installed: in the package or in the download cache."""

from __future__ import annotations

from soundloom.checkpoints.hub.fetch import fetch
from soundloom.checkpoints.stable_audio.open import WEIGHTS_FILE
from soundloom.config.catalogue import packaged_folder
from soundloom.config.entries import ModelEntry
from soundloom.errors import DownloadError


def installed_layouts(entry: ModelEntry) -> list[str]:
    """Return the layouts of a catalogue entry whose files are all installed."""
    if entry.is_packaged:
        return ["published"] if (packaged_folder(entry.name) / WEIGHTS_FILE).is_file() else []
    return [source.layout for source in entry.sources if _is_cached(entry, source.layout)]


def is_installed(entry: ModelEntry) -> bool:
    return bool(installed_layouts(entry))


def _is_cached(entry: ModelEntry, layout: str) -> bool:
    try:
        fetch(entry, layout, offline=True)
    except DownloadError:
        return False
    return True
