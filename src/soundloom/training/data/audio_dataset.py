"""Audio files of a dataset as training clips."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.datasets.captions import captions_of
from soundloom.datasets.examples import Dataset, FileEntry, Selection
from soundloom.errors import AudioError, SoundloomError, TrainingError
from soundloom.training.data.augmentation import random_crop
from soundloom.training.data.captions import CaptionList
from soundloom.training.data.protocols import Audio

log = logging.getLogger(__name__)

CACHE_BYTES = 2**31  # of decoded audio


class AudioDataset(CaptionList):
    """Clips of a dataset in stereo at one rate, decoded on first use and cached while memory allows.

    Raises TrainingError when the selection is empty.
    """

    def __init__(self, dataset: Dataset, selection: Selection, rate: int, most: int | None = None) -> None:
        self.selection, self.rate = selection, rate
        self.entries = list(islice(_captioned_entries(dataset, selection), most))
        super().__init__(captions for _, captions in self.entries)
        self._cache: OrderedDict[int, NDArray[np.int16]] = OrderedDict()
        self._bytes = 0
        self._unusable: set[int] = set()
        if not self.entries:
            raise TrainingError("the dataset has no sounds that the selection accepts", "see [selection] in data.toml")

    def clip(self, position: int) -> Clip:
        return Clip(self.audio(position), self.rate)

    def audio(self, position: int) -> Audio:
        """Return samples (2, n). Raises AudioError when the file cannot be read or the selection rejects it."""
        if position not in self._cache:
            self._store(position, self._read(self.entries[position][0]))
        self._cache.move_to_end(position)
        return self._cache[position].astype(np.float32) / np.float32(32767)

    def sample_crop(self, rng: np.random.Generator, length: int) -> tuple[int, Audio]:
        """Sample a clip's position and a random crop (2, length) of it; unusable clips are skipped."""
        while len(self._unusable) < len(self):
            position = int(rng.integers(len(self)))
            if position in self._unusable:
                continue
            try:
                return position, random_crop(self.audio(position), rng, length)
            except SoundloomError as error:
                self._unusable.add(position)
                log.warning("skipped: %s", error.args[0])
        raise TrainingError(f"none of {len(self)} sounds can be used", "see the warnings above")

    def drop_unusable(self) -> AudioDataset:
        """Remove clips that cannot be read or are rejected, by reading everything; return self."""
        for position in reversed(range(len(self))):
            try:
                self.audio(position)
            except SoundloomError as error:
                log.warning("skipped: %s", error.args[0])
                del self.entries[position], self._captions[position]
                self._cache.clear()  # its positions have changed
                self._unusable.clear()
                self._bytes = 0
        return self

    def _read(self, entry: FileEntry) -> NDArray[np.int16]:
        example = entry.read()
        if example.audio is None:
            raise AudioError(f"{example.origin} holds latents, not sound")
        if reason := self.selection.rejection(example):
            raise AudioError(f"{example.origin} {reason}")
        stereo, _ = to_stereo(example.audio)
        samples = np.clip(resample(stereo, example.sample_rate, self.rate), -1, 1)
        return np.round(samples * 32767).astype(np.int16)

    def _store(self, position: int, samples: NDArray[np.int16]) -> None:
        self._cache[position] = samples
        self._bytes += samples.nbytes
        while self._bytes > CACHE_BYTES and len(self._cache) > 1:
            self._bytes -= self._cache.popitem(last=False)[1].nbytes


def _captioned_entries(dataset: Dataset, selection: Selection) -> Iterator[tuple[FileEntry, tuple[str, ...]]]:
    """Yield the entries whose metadata the selection accepts, with their captions."""
    for entry in dataset.entries():
        if not selection.accepts_origin(entry.origin):
            continue
        try:
            metadata = entry.read_metadata()
            captions = captions_of(metadata, entry.origin)
        except SoundloomError as error:
            log.warning("skipped: %s", error.args[0])
            continue
        if (captions or not selection.captioned) and not selection.metadata_rejection(metadata):
            yield entry.without_data(), captions
