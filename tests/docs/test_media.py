"""The audio files that README.md links to are what the commands printed beside them generate."""

from __future__ import annotations

import shlex

import numpy as np

from benchmarks.readme_media import COMMANDS, PICTURE
from soundloom.audio.clip import Clip
from soundloom.cli import main as cli
from tests.docs.pages import ROOT, blocks

MEDIA = ROOT / "docs" / "media"
MAX_BYTES = 320_000  # of all media, since every clone fetches them


def file_of(command: str) -> str:
    return shlex.split(command)[-1]


def test_the_readme_prints_the_commands_and_links_the_files():
    readme = ROOT / "README.md"
    printed = {command.text for block in blocks(readme) for command in block.commands}
    assert printed >= set(COMMANDS)
    for name in (*map(file_of, COMMANDS), PICTURE):
        assert f"(docs/media/{name})" in readme.read_text(encoding="utf-8")


def test_the_media_are_small_and_all_of_them_are_used():
    files = {path.name: path.stat().st_size for path in MEDIA.iterdir()}
    assert set(files) == {PICTURE, *map(file_of, COMMANDS)}
    assert sum(files.values()) < MAX_BYTES


def test_the_printed_commands_generate_these_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        assert cli.main(shlex.split(command)[1:]) == 0
        published, again = (Clip.load(folder / file_of(command)).audio for folder in (MEDIA, tmp_path))
        error = np.sqrt(np.mean((published - again) ** 2))
        assert error < 1e-3 * np.sqrt(np.mean(published**2))  # 60 dB: rounding, MP3 included
