"""Prepare published data sets that the user has fetched: find their sounds, and write `set.json` and the prompts.

Sounds stay where they are; no file is downloaded, copied or changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.atomic import make_folder
from soundloom.datasets.examples import list_files
from soundloom.datasets.folders import SOUND_ENDINGS
from soundloom.errors import AudioError, RequestError, printable
from soundloom.evaluation.sets.items import SoundItem
from soundloom.evaluation.sets.layouts import LAYOUTS, Catalog, Choice, ListedSound, read_catalog
from soundloom.evaluation.sets.manifest import SET_FILE, SoundSet, write_set
from soundloom.evaluation.sets.prompts import PROMPTS_FILE, PromptList, write_prompts

GRID = 10  # starts of a loudest part per second
TIE = 1e-9  # relative difference of energies that counts as none
MARGIN = 1.0  # seconds by which a file may be longer than the clip that it holds

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PreparedSet:
    """What was written to `folder`; `left_out` are reasons by the ids of sounds that are not in the set."""

    folder: Path
    sounds: SoundSet
    prompts: PromptList
    left_out: dict[str, str]
    notes: tuple[str, ...]


def prepare(
    name: str, source: Path, folder: Path, choice: Choice, progress: Progress = lambda done, total: None
) -> PreparedSet:
    """Write `set.json` and `prompts.jsonl` of a data set of LAYOUTS to a folder.

    All chosen captions are prompts, whether their sounds are there or not, so that the list of prompts does not depend
    on what could be fetched. Raises RequestError for unknown names, and if no sound is found.
    """
    if name not in LAYOUTS:
        raise RequestError(f"there is no layout '{name}'", f"known: {', '.join(LAYOUTS)}")
    catalog, root = read_catalog(name, source, choice)
    prompts = PromptList(catalog.name, catalog.prompts)
    items, left_out = _find(catalog, root, choice.seconds, progress)
    if not items:
        example = f"{catalog.sounds[0].names[0]}.wav or .flac"
        raise RequestError(f"none of the {len(catalog.sounds)} sounds is in {printable(root)}", f"such as {example}")
    sounds = SoundSet(catalog.name, tuple(items), catalog.license, catalog.version)
    make_folder(folder)
    more = {"prompts": PROMPTS_FILE, "prompts_sha256": prompts.hash, "left_out": left_out, "notes": catalog.notes}
    write_prompts(folder / PROMPTS_FILE, prompts.prompts)
    write_set(folder / SET_FILE, sounds, more)
    return PreparedSet(folder, sounds, prompts, left_out, catalog.notes)


def _find(
    catalog: Catalog, root: Path, seconds: float | None, progress: Progress
) -> tuple[list[SoundItem], dict[str, str]]:
    """Return the sounds that are there, and why others are left out."""
    files: dict[str, Path] = {}
    for path in list_files(root):
        if path.suffix.lower() in SOUND_ENDINGS:
            files.setdefault(path.stem, path)
    items, left_out = [], {}
    for number, listed in enumerate(catalog.sounds, 1):
        found = [files[name] for name in listed.names if name in files]
        if not found:
            left_out[listed.id] = "missing"
        else:
            try:
                items.append(_item(listed, found[0], catalog.loudest, seconds))
            except AudioError as error:
                left_out[listed.id] = str(error.args[0])
        progress(number, len(catalog.sounds))
    return items, left_out


def _item(listed: ListedSound, path: Path, loudest: float | None, seconds: float | None) -> SoundItem:
    """Return the sound in a file. Raises AudioError if the file cannot be it."""
    whole = SoundItem(listed.id, path, listed.caption)
    if loudest is not None:
        start = loudest_start(whole, loudest)
        return SoundItem(listed.id, path, listed.caption, start, start + loudest)
    start, end = _place(listed, whole.duration(), path)
    if seconds is not None:
        end = start + seconds
    return SoundItem(listed.id, path, listed.caption, start, end)


def _place(listed: ListedSound, duration: float, path: Path) -> tuple[float, float | None]:
    """Return where a clip is in its file: all of it, or a part of the whole recording. Raises AudioError."""
    if listed.start is None or listed.seconds is None or duration <= listed.seconds + MARGIN:
        return 0.0, None
    end = listed.start + listed.seconds
    if duration < end - MARGIN:
        place = f"{listed.start:g}-{end:g} s"
        raise AudioError(f"{printable(path)} has {duration:.1f} s: neither the clip nor a video with {place}")
    return listed.start, end


def loudest_start(item: SoundItem, seconds: float) -> float:
    """Return where the loudest part begins, by RMS over all channels, at a multiple of 0.1 s.

    Raises AudioError for sounds that are shorter, silent, or not finite.
    """
    energies: list[float] = []  # of tenths of a second
    with item.open() as sound:
        position = 0
        for block in sound.blocks():
            bins = (position + np.arange(block.shape[1])) * GRID // sound.rate
            energy = np.bincount(bins - bins[0], np.square(block, dtype=np.float64).sum(axis=0)).tolist()
            if bins[0] < len(energies):
                energies[-1] += energy.pop(0)
            energies += energy
            position += block.shape[1]
        complete = energies[: position * GRID // sound.rate]
    count = round(seconds * GRID)
    if len(complete) < count:
        raise AudioError(f"{printable(item.path)} has {len(complete) / GRID:g} s, less than {seconds:g} s")
    sums = np.convolve(complete, np.ones(count), "valid")
    if not np.isfinite(sums).all() or not sums.max() > 0:
        raise AudioError(f"{printable(item.path)} is {'silent' if np.isfinite(sums).all() else 'not finite'}")
    # The first of equal ones, whatever the order of the summation.
    return int(np.argmax(sums >= sums.max() * (1 - TIE))) / GRID
