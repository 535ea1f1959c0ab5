"""Download models from the Hugging Face hub into its cache, and check commits and hashes.

The catalogue pins commits, and hashes of files where they are known. Otherwise the first download is trusted and
recorded (`first_downloads`). Files that are complete in the cache are used without network access.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from soundloom.checkpoints.hashes import sha256_of
from soundloom.checkpoints.hub import first_downloads
from soundloom.checkpoints.hub.cache import COMMIT, find_snapshot, path_in_repo, remove_incomplete, sources_needed
from soundloom.checkpoints.hub.errors import download_errors, downloads_disabled, no_connection
from soundloom.checkpoints.licenses import require_consent
from soundloom.config.entries import ModelEntry, RemoteFile, Source
from soundloom.config.stable_audio.published import TEXT_ENCODER_FOLDER
from soundloom.errors import DownloadError, RequestError, WriteError

log = logging.getLogger(__name__)

_COMMIT_DIGITS = 40  # digits
_PROXIES = ("https", "http", "all")  # the proxy table also has a key for exceptions


@dataclass(frozen=True)
class Fetched:
    """Local files of a model: its weights (the first component of an npz set) and its text encoder's folder."""

    weights: Path
    text_encoder: Path | None = None


class DownloadKwargs(TypedDict, total=False):
    """Options of a download.

    `revision` replaces the pinned commit of the model's own repository. `offline` None follows HF_HUB_OFFLINE.
    `accept_license` and `confirm` are passed to `licenses.require_consent`.
    """

    revision: str | None
    offline: bool | None
    accept_license: bool
    confirm: Callable[[str], bool] | None


def fetch(entry: ModelEntry, layout: str = "published", **options: Unpack[DownloadKwargs]) -> Fetched:
    """Download the files of a catalogue entry, unless they are cached, and return their paths. Raises DownloadError."""
    folders = fetch_folders(entry, layout, **options)
    source = entry.source(layout)
    weights = next(file.path for file in source.files if not file.path.endswith(".json"))
    text_encoder = folders[-1] / TEXT_ENCODER_FOLDER
    return Fetched(folders[0] / source.subfolder / weights, text_encoder if text_encoder.is_dir() else None)


def fetch_folders(entry: ModelEntry, layout: str = "published", **options: Unpack[DownloadKwargs]) -> list[Path]:
    """Do the same, and return the local copy of each repository of `sources_needed`."""
    sources = sources_needed(entry, layout)
    revisions = [options.get("revision") or sources[0].revision, *(source.revision for source in sources[1:])]
    offline = options.get("offline")
    offline = hub_is_offline() if offline is None else offline
    folders = [find_snapshot(*pair, offline) for pair in zip(sources, revisions, strict=True)]
    if None in folders:
        if offline:
            raise downloads_disabled(sources[folders.index(None)])
        require_consent(entry, options.get("accept_license", False), options.get("confirm"))
    return [
        folder or download(source, wanted) for source, wanted, folder in zip(sources, revisions, folders, strict=True)
    ]


def files_needed(entry: ModelEntry, layout: str = "published") -> list[tuple[str, RemoteFile]]:
    """Return repository and file of everything that `fetch` downloads."""
    return [(source.repo, file) for source in sources_needed(entry, layout) for file in source.files]


def hub_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def download(source: Source, revision: str | None) -> Path:
    """Download all files of a source, check their sizes and hashes, and return the snapshot's folder."""
    from huggingface_hub import hf_hub_download

    require_network(source)
    first_downloads.record_connection(source.repo)
    remove_incomplete(source.repo)
    is_default = revision == source.revision
    commit = full_commit(source, revision or first_downloads.trusted_commit(source.repo))
    digests = {}
    local = Path()
    for file in source.files:
        path = path_in_repo(source, file)
        with download_errors(source, path):
            local = Path(hf_hub_download(source.repo, path, revision=commit))
        commit = local.parents[path.count("/")].name
        digests[path] = _check(source, file, local, commit, is_default)
    try:
        first_downloads.record_download(source.repo, commit or "", digests, is_default=is_default)
    except (WriteError, RequestError) as error:  # the download itself is complete and usable
        log.warning("%s was downloaded, but its hashes could not be recorded: %s", source.repo, error)
    return local.parents[path.count("/")]


def require_network(source: Source) -> None:
    """Raise DownloadError at once if the hub's host name does not resolve; the client would retry for 30 seconds."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if any(getproxies().get(kind) for kind in _PROXIES):  # a proxy resolves names itself
        return
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError as error:
        raise no_connection(source, path_in_repo(source, source.files[0])) from error


def _check(source: Source, file: RemoteFile, local: Path, commit: str, is_default: bool) -> str:
    """Return the sha256 of a downloaded file. If it is not the pinned one, remove the file: DownloadError."""
    path = path_in_repo(source, file)
    size, digest = local.stat().st_size, sha256_of(local)
    trusted = first_downloads.trusted_sha256(source.repo, commit, path)
    fault = ""
    # Pinned sizes and hashes belong to the pinned commit; other commits may differ.
    if is_default and file.size is not None and size != file.size:
        fault = f"has {size} bytes instead of {file.size}"
    elif is_default and file.sha256 is not None and digest != file.sha256:
        fault = f"has the sha256 {digest} instead of the pinned {file.sha256}"
    elif trusted is not None and digest != trusted:
        fault = f"has the sha256 {digest}, but its first download had {trusted}"
    if fault:
        blob = local.resolve()
        local.unlink()
        blob.unlink(missing_ok=True)
        raise DownloadError(
            f"{path} of {source.repo} {fault}; it was removed",
            "try again; if it happens again, choose a commit that you trust with --revision",
        )
    return digest


def full_commit(source: Source, revision: str | None) -> str | None:
    """Expand an abbreviated commit; return branches and full commits as they are."""
    from huggingface_hub import HfApi

    if revision is None or len(revision) == _COMMIT_DIGITS or not COMMIT.fullmatch(revision):
        return revision
    with download_errors(source, "the list of commits"):
        commits = [commit.commit_id for commit in HfApi().list_repo_commits(source.repo)]
    matching = [commit for commit in commits if commit.startswith(revision)]
    if len(matching) != 1:
        raise DownloadError(
            f"{source.repo} has {len(matching) or 'no'} commits that start with {revision}",
            "choose another with --revision, for example --revision main",
        )
    return matching[0]
