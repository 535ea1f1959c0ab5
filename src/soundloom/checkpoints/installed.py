"""Which models can be used without a download."""

from __future__ import annotations

from soundloom.checkpoints.hub.fetch import fetch
from soundloom.checkpoints.stable_audio.open import WEIGHTS_FILE
from soundloom.config.catalogue import packaged_folder
from soundloom.config.entries import ModelEntry
from soundloom.errors import DownloadError


def installed_layouts(entry: ModelEntry) -> list[str]:
    """The layouts of a catalogue entry that lie complete in the package or the download cache."""
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
