"""Download the files of a model so that it can be paused, and resumed even after the program was closed.

The hub's own client removes partial files. This puts complete files into its cache, where `fetch` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from soundloom.atomic import make_folder
from soundloom.checkpoints.hub import first_downloads
from soundloom.checkpoints.hub.cache import cache_folder, find_snapshot, path_in_repo, same_kind_of_hash, sources_needed
from soundloom.checkpoints.hub.errors import download_errors, downloads_disabled
from soundloom.checkpoints.hub.fetch import full_commit, hub_is_offline, require_network
from soundloom.checkpoints.licenses import require_consent
from soundloom.config.entries import ModelEntry, Source
from soundloom.errors import DownloadError

PART = ".part"  # ends the name of a file that is not complete
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLOCK_BYTES: int | None = None  # as they arrive, so that a pause takes effect at once
_ATTEMPTS, _WAIT_SECONDS = 5, 1.0  # in a row without a byte
_TIMEOUT_SECONDS = 10.0
_PARTIAL_CONTENT, _BAD_RANGE = 206, 416


class Paused(BaseException):
    """A download was paused; what is there stays. No handler of errors should take this for one."""


def transfer_files(entry: ModelEntry, layout: str, pause: Event, *, accept_license: bool = False) -> None:
    """Download what a model lacks into the cache. Raises Paused once `pause` is set, and DownloadError."""
    missing = [one for one in sources_needed(entry, layout) if find_snapshot(one, one.revision, False) is None]
    if missing and hub_is_offline():
        raise downloads_disabled(missing[0])
    if missing:
        require_consent(entry, accept_license)
    for source in missing:
        require_network(source)
        first_downloads.record_connection(source.repo)
        commit = full_commit(source, source.revision or first_downloads.trusted_commit(source.repo))
        for file in source.files:
            with download_errors(source, path_in_repo(source, file)):
                commit = _transfer(source, path_in_repo(source, file), commit, pause)


def partial_files(repo: str) -> list[Path]:
    """Return the files of paused downloads of a repository."""
    return sorted((cache_folder(repo) / "blobs").glob(f"*{PART}"))


def _transfer(source: Source, path: str, commit: str | None, pause: Event) -> str | None:
    """Download a file of a commit, and return the commit, which may have been the name of a branch."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if pause.is_set():
        raise Paused
    url = hf_hub_url(source.repo, path, revision=commit)
    found = get_hf_file_metadata(url)
    commit, digest = found.commit_hash or commit, found.etag or ""
    if not _HASH.fullmatch(digest) or found.size is None:  # the hub's client downloads it
        return commit
    blob = cache_folder(source.repo) / "blobs" / digest
    make_folder(blob.parent)
    with _locked(source.repo, digest):
        if not blob.exists():
            part = blob.with_name(blob.name + PART)
            _Transfer(url, part, found.size, pause).run()
            if same_kind_of_hash(digest, part) != digest:
                part.unlink()
                raise DownloadError(f"the download of {path} is damaged; it was removed", "try again")
            part.replace(blob)
    return commit


@contextmanager
def _locked(repo: str, name: str) -> Iterator[None]:
    """Hold the lock that the hub's client uses for a file too."""
    from filelock import FileLock

    folder = cache_folder(repo)
    locks = folder.parent / ".locks" / folder.name
    make_folder(locks)
    with FileLock(locks / f"{name}.lock"):
        yield


class _Transfer:
    """Appends to a partial file what it lacks of a file of the hub."""

    def __init__(self, url: str, part: Path, size: int, pause: Event) -> None:
        self.url, self.part, self.size, self.pause = url, part, size, pause

    def run(self) -> None:
        """Download until the file is complete. A broken connection is opened again where it broke."""
        import httpx
        from huggingface_hub.utils import build_hf_headers

        headers, attempts = {**build_hf_headers(), "Accept-Encoding": "identity"}, _ATTEMPTS
        with httpx.Client(headers=headers, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
            while not self._is_complete():
                before = self._bytes()
                try:
                    self._receive(client)
                    attempts -= 1  # the answer ended; if the file is not complete now, the server has another one
                except httpx.TransportError:
                    attempts = _ATTEMPTS if self._bytes() > before else attempts - 1
                    if attempts and self.pause.wait(_WAIT_SECONDS):
                        raise Paused from None
                    if not attempts:
                        raise
                if not attempts and not self._is_complete():
                    raise OSError("Consistency check failed: its size is not the one that the hub states")

    def _is_complete(self) -> bool:
        if not self.part.exists():
            return False
        if self._bytes() > self.size:
            self.part.unlink()
            return False
        return self._bytes() == self.size

    def _bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, client: Any) -> None:
        start = self._bytes()
        with client.stream("GET", self.url, headers={"Range": f"bytes={start}-"} if start else {}) as answer:
            if answer.status_code == _BAD_RANGE:
                self.part.unlink()
                return
            answer.raise_for_status()
            is_rest = answer.status_code == _PARTIAL_CONTENT  # else the server sends all of it again
            with self.part.open("ab" if is_rest else "wb") as out:
                for block in answer.iter_raw(_BLOCK_BYTES):
                    out.write(block)
                    if self.pause.is_set():
                        raise Paused
