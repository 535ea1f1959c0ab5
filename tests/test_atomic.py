"""Files that appear whole or not at all, and names that nobody loses."""

import errno
from pathlib import Path

import pytest

from soundloom.atomic import replacing
from soundloom.errors import WriteError


def write(path, text, overwrite=False, meanwhile=lambda: None):
    with replacing(path, overwrite=overwrite) as new:
        new.write_text(text)
        meanwhile()


def without_links(path, target):
    raise OSError(errno.EOPNOTSUPP, "no links here")


@pytest.fixture(params=["links", "no links"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "no links":
        monkeypatch.setattr(Path, "hardlink_to", without_links)
    return tmp_path


def test_a_file_that_got_the_name_while_the_work_went_on_is_kept(folder):
    path = folder / "a.txt"
    with pytest.raises(WriteError, match="exists already"):
        write(path, "ours", meanwhile=lambda: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert list(folder.iterdir()) == [path]


def test_a_free_name_is_taken_and_a_taken_one_replaced_when_told(folder):
    path = folder / "a.txt"
    write(path, "first")
    assert path.read_text() == "first"
    write(path, "second", overwrite=True)
    assert path.read_text() == "second"
    assert list(folder.iterdir()) == [path]
