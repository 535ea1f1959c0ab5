"""Folders of sound files at any depth, with metadata in .txt and .json files of the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soundloom.datasets.captions import captions_of, read_sidecars
from soundloom.datasets.examples import Example, LocalFile, list_files, read_small_file
from soundloom.errors import AudioError, RequestError, printable

SOUND_ENDINGS = frozenset((".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf"))


class SoundFile(LocalFile):
    """A sound file below a folder."""

    def fingerprint(self) -> str:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise AudioError(f"{printable(self.path)} cannot be opened: {error.strerror}") from error

    def read_metadata(self) -> dict[str, Any]:
        sidecars = map(self.path.with_suffix, (".json", ".txt"))
        table, text = (read_small_file(path) if path.is_file() else None for path in sidecars)
        return read_sidecars(table, text, printable(self.path.with_suffix("")))

    def read(self) -> Example:
        from soundloom.audio.read import read_audio

        metadata = self.read_metadata()
        audio, rate, _ = read_audio(self.path)
        captions = captions_of(metadata, self.origin)
        return Example(self.origin, captions, audio.shape[1] / rate, audio, rate, metadata=metadata)


class Folder:
    """All sound files below a folder, sorted by name, without hidden files and folders."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RequestError(f"there is no folder {self.root}", "name a folder with sound files in it")

    def entries(self) -> Iterator[SoundFile]:
        for path in list_files(self.root):
            if path.suffix.lower() in SOUND_ENDINGS:
                yield SoundFile(self.root, path)
