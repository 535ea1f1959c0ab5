"""Sounds of other people as training takes them: folders, shards and stored latents (`soundloom.datasets`)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample
from soundloom.datasets.captions import captions_of
from soundloom.datasets.examples import Dataset, Example, FileEntry, Selection, Skipped, read_examples
from soundloom.errors import AudioError, SoundloomError, TrainingError
from soundloom.training.data.augmentation import random_piece
from soundloom.training.data.latents import Latents
from soundloom.training.data.sources import Audio

log = logging.getLogger(__name__)

KEPT_BYTES = 2**31  # of decoded sounds in memory
MOST_CAPTIONS = 8  # of a clip that are learnt


@dataclass(frozen=True)
class Unlabeled:
    """Sounds of a library belong to no family of the synthetic world."""

    family: str = ""


class Words:
    """Captions of clips, repeated until each clip has as many as the one with most; none becomes an empty one."""

    def __init__(self, captions: Iterable[Sequence[str]]) -> None:
        given = [tuple(some[:MOST_CAPTIONS]) or ("",) for some in captions]
        most = max(map(len, given), default=1)
        self._captions = [tuple(islice(cycle(some), most)) for some in given]

    def __len__(self) -> int:
        return len(self._captions)

    def captions(self, position: int) -> tuple[str, ...]:
        return self._captions[position]

    def labels(self, position: int) -> Unlabeled:
        return Unlabeled()


class Recordings(Words):
    """Sounds of a dataset in stereo at one rate, read when they are first asked for and kept while memory allows.

    Raises TrainingError when nothing can be learnt from it.
    """

    def __init__(self, dataset: Dataset, selection: Selection, rate: int, most: int | None = None) -> None:
        self.selection, self.rate = selection, rate
        self.entries = list(islice(_described(dataset, selection), most))
        super().__init__(captions for _, captions in self.entries)
        self._kept: OrderedDict[int, NDArray[np.int16]] = OrderedDict()
        self._bytes = 0
        self._unusable: set[int] = set()
        if not self.entries:
            raise TrainingError("the dataset has no sounds that the selection takes", "see [selection] in data.toml")

    def clip(self, position: int) -> Clip:
        return Clip(self.audio(position), self.rate)

    def audio(self, position: int) -> Audio:
        """Samples (2, n). Raises AudioError where the file cannot be read or the selection refuses it."""
        if position not in self._kept:
            self._keep(position, self._read(self.entries[position][0]))
        self._kept.move_to_end(position)
        return self._kept[position].astype(np.float32) / np.float32(32767)

    def sample(self, rng: np.random.Generator, length: int) -> tuple[int, Audio]:
        """A random sound's position, and a random piece (2, length) of it; what cannot be used is passed over."""
        while len(self._unusable) < len(self):
            position = int(rng.integers(len(self)))
            if position in self._unusable:
                continue
            try:
                return position, random_piece(self.audio(position), rng, length)
            except SoundloomError as error:
                self._unusable.add(position)
                log.warning("passed over: %s", error.args[0])
        raise TrainingError(f"none of {len(self)} sounds can be used", "the warnings above say why")

    def leave_out_unusable(self) -> Recordings:
        """Forget what cannot be read or is refused, which takes as long as reading everything; return this."""
        for position in reversed(range(len(self))):
            try:
                self.audio(position)
            except SoundloomError as error:
                log.warning("passed over: %s", error.args[0])
                del self.entries[position], self._captions[position]
                self._kept.clear()  # by positions that are others now
                self._unusable.clear()
                self._bytes = 0
        return self

    def _read(self, entry: FileEntry) -> NDArray[np.int16]:
        item = entry.read()
        if item.audio is None:
            raise AudioError(f"{item.origin} holds latents, not sound")
        if rejection := self.selection.rejection(item):
            raise AudioError(f"{item.origin} {rejection}")
        stereo, _ = to_stereo(item.audio)
        samples = np.clip(resample(stereo, item.sample_rate, self.rate), -1, 1)
        return np.round(samples * 32767).astype(np.int16)

    def _keep(self, position: int, samples: NDArray[np.int16]) -> None:
        self._kept[position] = samples
        self._bytes += samples.nbytes
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


def _described(dataset: Dataset, selection: Selection) -> Iterator[tuple[FileEntry, tuple[str, ...]]]:
    """Entries that are worth reading, with their captions."""
    for entry in dataset.entries():
        if not selection.accepts_origin(entry.origin):
            continue
        try:
            metadata = entry.read_metadata()
            captions = captions_of(metadata, entry.origin)
        except SoundloomError as error:
            log.warning("left out: %s", error.args[0])
            continue
        if (captions or not selection.captioned) and not selection.metadata_rejection(metadata):
            yield entry.without_data(), captions


def stored_latents(
    dataset: Dataset, selection: Selection, channels: int, rate: float, longest: int, silence: Audio
) -> tuple[Latents, Words]:
    """All latents of a dataset and their captions, in memory.

    `rate` is that of frames. Items of more than `longest` frames become several. `silence` (c, t) stands behind short
    ones. Raises TrainingError where there are none, or where they have another number of channels.
    """
    clips: list[Audio] = []
    seconds: list[float] = []
    captions: list[tuple[str, ...]] = []
    for item in read_examples(dataset, selection, _warn):
        for clip, length in _windows(item, rate, longest):
            if len(clip) != channels:
                raise TrainingError(f"{item.origin} has {len(clip)} channels, and the model's latents {channels}")
            clips.append(clip.T)
            seconds.append(length)
            captions.append(item.captions)
    if not clips:
        raise TrainingError("there are no latents to learn from", "run soundloom train encode, or look into data.toml")
    starts = np.cumsum([0, *map(len, clips)], dtype=np.int64)
    return Latents(np.concatenate(clips), starts, np.array(seconds, np.float32), silence.T), Words(captions)


def stored_seconds(dataset: Dataset, selection: Selection, rate: float, longest: int) -> Audio:
    """The seconds of the clips that `stored_latents` makes, one item in memory at a time. Raises as it does."""
    lengths = [
        length for item in read_examples(dataset, selection, _warn) for _, length in _windows(item, rate, longest)
    ]
    if not lengths:
        raise TrainingError("there are no latents to learn from", "run soundloom train encode, or look into data.toml")
    return np.array(lengths, np.float32)


def _windows(item: Example, rate: float, longest: int) -> Iterator[tuple[Audio, float]]:
    """Pieces (c, t) of at most `longest` frames, and the seconds of each."""
    if item.latents is None:
        raise TrainingError(f"{item.origin} holds sound, not latents", "run soundloom train encode first")
    frames = item.latents.shape[1]
    for start in range(0, frames, longest):
        piece = item.latents[:, start : start + longest]
        yield piece, min(piece.shape[1] / rate, item.seconds - start / rate)


def _warn(skipped: Skipped) -> None:
    log.warning("left out: %s: %s", skipped.origin, skipped.reason)
