"""Find files in the hub's download cache and compare them with known hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from soundloom.checkpoints.hashes import sha256_of
from soundloom.checkpoints.hub import first_downloads
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import ModelEntry, RemoteFile, Source

COMMIT = re.compile(r"[0-9a-f]{7,40}")
_GIT_HASH_DIGITS = 40
_IN_CACHE = re.compile(r"/models--(?P<repo>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/(?P<path>.+)$")


def sources_needed(entry: ModelEntry, layout: str = "published") -> list[Source]:
    """Return the repositories, with their files, that a model in this layout needs."""
    source = entry.source(layout)
    if source.auxiliary:
        return [source, *source.auxiliary]
    needs_text_encoder = entry.text_encoder is not None and layout == "bf16-mirror"
    return [source, entry.text_encoder] if needs_text_encoder and entry.text_encoder else [source]


def path_in_repo(source: Source, file: RemoteFile) -> str:
    return f"{source.subfolder}/{file.path}" if source.subfolder else file.path


def cache_folder(repo: str) -> Path:
    """Return the hub client's cache folder of a repository; reading it directly needs no network."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def find_snapshot(source: Source, revision: str | None, offline: bool) -> Path | None:
    """Return the complete cached snapshot of a commit. A cached branch may be outdated, so it is used only offline."""
    folder = cache_folder(source.repo)
    if revision is None:
        revision = first_downloads.trusted_commit(source.repo) or _branch(folder, "main")
    elif offline and not COMMIT.fullmatch(revision):
        revision = _branch(folder, revision)
    if revision is None or not COMMIT.fullmatch(revision):
        return None
    complete = (
        snapshot
        for snapshot in sorted((folder / "snapshots").glob(f"{revision}*"))
        if all((snapshot / path_in_repo(source, file)).is_file() for file in source.files)
    )
    return next(complete, None)


def _branch(folder: Path, name: str) -> str | None:
    """Return the commit of a branch at its last download."""
    try:
        return (folder / "refs" / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def remove_incomplete(repo: str) -> None:
    """Remove partial files of killed downloads, which the client never resumes."""
    from filelock import FileLock, Timeout

    folder = cache_folder(repo)
    for partial in (folder / "blobs").glob("*.incomplete"):
        lock = folder.parent / ".locks" / folder.name / f"{partial.name.split('.')[0]}.lock"
        # A running download holds the lock of its file.
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            partial.unlink(missing_ok=True)


def download_faults(paths: Sequence[Path], sha256: Callable[[Path], str] = sha256_of) -> list[str]:
    """Return a sentence for each cached file whose hash differs from that of the hub or of the first download.

    Configurations and tokenizers next to the given files are checked too.
    """
    beside = {other for path in paths if is_download(path) for other in path.parent.iterdir() if _is_small(other)}
    faults = []
    for path in dict.fromkeys([*paths, *sorted(beside)]):
        missed = (digest for digest in _known_hashes(path) if same_kind_of_hash(digest, path, sha256) != digest)
        if digest := next(missed, None):
            faults.append(f"{path} is damaged: its hash differs from the recorded {digest}")
    return faults


def is_download(path: Path) -> bool:
    """Whether a file is in the download cache and has a known hash."""
    return bool(_known_hashes(path))


def _is_small(path: Path) -> bool:
    return path.suffix in (".json", ".model") and path.is_file()


def _known_hashes(path: Path) -> list[str]:
    """Return the known hashes of a file in the download cache: sha256, or git's own for small files."""
    parts = _IN_CACHE.search(path.absolute().as_posix())
    if parts is None:
        return []
    repo, commit, name = parts["repo"].replace("--", "/", 1), parts["commit"], parts["path"]
    known = [first_downloads.trusted_sha256(repo, commit, name), _pinned_sha256(repo, commit, name)]
    # The client names the stored file by its hash on the hub.
    blob = path.readlink().name if path.is_symlink() else ""
    known.append(blob if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", blob) else None)
    return [digest for digest in dict.fromkeys(known) if digest is not None]


def same_kind_of_hash(digest: str, path: Path, sha256: Callable[[Path], str] = sha256_of) -> str:
    """Return the hash of a file that `digest` should be: its sha256, or git's own for a short one."""
    if len(digest) != _GIT_HASH_DIGITS:
        return sha256(path)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _pinned_sha256(repo: str, commit: str, name: str) -> str | None:
    for entry in CATALOGUE.values():
        for source in (each for layout in entry.sources for each in sources_needed(entry, layout.layout)):
            if (source.repo, source.revision) == (repo, commit):
                for file in source.files:
                    if file.sha256 is not None and path_in_repo(source, file) == name:
                        return file.sha256
    return None
