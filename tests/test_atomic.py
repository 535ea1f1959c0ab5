"""Atomic writes of single files, and protection of files that exist already."""

import errno
from pathlib import Path

import pytest

from soundloom.atomic import atomic_path
from soundloom.errors import WriteError


def write(path, text, overwrite=False, meanwhile=lambda: None):
    with atomic_path(path, overwrite=overwrite) as new:
        new.write_text(text)
        meanwhile()


def without_links(path, target):
    raise OSError(errno.EOPNOTSUPP, "links are not supported")


@pytest.fixture(params=["links", "no links"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "no links":
        monkeypatch.setattr(Path, "hardlink_to", without_links)
    return tmp_path


def test_without_overwrite_a_file_created_during_the_block_is_kept(folder):
    path = folder / "a.txt"
    with pytest.raises(WriteError, match="already exists"):
        write(path, "ours", meanwhile=lambda: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert list(folder.iterdir()) == [path]


def test_overwrite_replaces_an_existing_file(folder):
    path = folder / "a.txt"
    write(path, "first")
    assert path.read_text() == "first"
    write(path, "second", overwrite=True)
    assert path.read_text() == "second"
    assert list(folder.iterdir()) == [path]
