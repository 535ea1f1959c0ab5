"""Downloads that are paused and resumed, and models that are removed, through a local fake hub."""

from __future__ import annotations

from threading import Event

import pytest

from soundloom.checkpoints.hub.cache import cache_folder
from soundloom.checkpoints.hub.fetch import fetch
from soundloom.checkpoints.hub.remove import removable_bytes, remove_model
from soundloom.checkpoints.hub.transfer import Paused, partial_files, transfer_files
from soundloom.checkpoints.installed import is_installed
from soundloom.errors import DownloadError
from tests.checkpoints.hub.test_fetch import ENTRY, hub

__all__ = ["hub"]
WEIGHTS = "model.safetensors"


class After(Event):
    """An event that is set once it was asked for a number of times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def is_set(self):
        self.times -= 1
        return self.times < 0


@pytest.fixture
def large(hub, monkeypatch):
    """Return the weights of a hub, which arrive in many blocks."""
    monkeypatch.setattr("soundloom.checkpoints.hub.transfer._BLOCK_BYTES", 1000)
    return hub.repos[ENTRY.repo][WEIGHTS]


def transfer(pause=None):
    transfer_files(ENTRY, "published", pause or Event(), accept_license=True)


def paused(times):
    """Pause a download when its pause was asked for so many times, and return the partial file."""
    with pytest.raises(Paused):
        transfer(After(times))
    (part,) = partial_files(ENTRY.repo)
    return part


def requests(hub, path):
    return [one for one in hub.requests if one.startswith("GET") and path in one]


def test_what_was_transferred_needs_no_second_download(hub):
    transfer()
    hub.requests.clear()
    assert fetch(ENTRY, accept_license=True).weights.read_bytes() == WEIGHTS.encode() * 1000
    assert not [one for one in hub.requests if one.startswith("GET")]
    assert not partial_files(ENTRY.repo)


def test_a_paused_download_goes_on_where_it_was(hub, large):
    first = next(iter(hub.repos[ENTRY.repo]))
    part = paused(4)  # before the file, and after its first three blocks
    size = part.stat().st_size
    assert 0 < size < len(hub.repos[ENTRY.repo][first])
    transfer()
    assert requests(hub, first)[-1].endswith(f"bytes={size}-")
    assert fetch(ENTRY, accept_license=True).weights.read_bytes() == large


def test_a_server_that_ignores_ranges_sends_all_again(hub, large):
    paused(4)
    hub.ignores_ranges = True
    transfer()
    assert fetch(ENTRY, accept_license=True).weights.read_bytes() == large


def test_a_part_that_is_damaged_is_found_and_removed(hub, large):
    part = paused(4)
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(DownloadError, match=r"is damaged; it was removed"):
        transfer()
    assert not partial_files(ENTRY.repo)
    transfer()


def test_a_broken_transfer_goes_on(hub, large, monkeypatch):
    monkeypatch.setattr("soundloom.checkpoints.hub.transfer._WAIT_SECONDS", 0)
    hub.cut_after, hub.cuts_left = 5000, 3
    transfer()
    hub.cuts_left = 10**6
    hub.cut_after = 0
    for path in (cache_folder(ENTRY.repo) / "blobs").glob("*"):
        path.unlink()
    with pytest.raises(DownloadError, match="could not be downloaded"):
        transfer()


def test_nothing_is_transferred_before_the_license_is_accepted(hub):
    with pytest.raises(DownloadError, match="was not accepted"):
        transfer_files(ENTRY, "published", Event())
    assert hub.requests == []


def test_a_removed_model_frees_its_space(hub, large, monkeypatch):
    fetch(ENTRY, accept_license=True)
    total = sum(map(len, hub.repos[ENTRY.repo].values()))
    assert is_installed(ENTRY) and removable_bytes(ENTRY) == total
    assert remove_model(ENTRY) == total
    assert not is_installed(ENTRY) and removable_bytes(ENTRY) == 0
    assert not list(cache_folder(ENTRY.repo).rglob("*.safetensors"))


def test_files_of_others_stay_when_a_model_is_removed(hub, large):
    weights = fetch(ENTRY, accept_license=True).weights
    own = weights.with_name("notes.txt")
    own.write_text("mine")
    remove_model(ENTRY)
    assert not weights.exists() and own.read_text() == "mine"
    assert not any((cache_folder(ENTRY.repo) / "blobs").iterdir())


def test_removing_a_model_removes_its_partial_files(hub, large):
    size = paused(4).stat().st_size
    assert remove_model(ENTRY) == size
    assert not partial_files(ENTRY.repo)
