"""Record the commit and file hashes of each repository's first download, which later downloads must match.

The record is `downloads.json` in the configuration folder, which outlives the download cache:
`{"owner/name": {"commit": "…", "sha256": {"COMMIT/path": "…"}, "time": 1.8e9}}`. `commit` is missing if all
downloads named a revision; `time` is that of the last connection, in seconds since 1970.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from soundloom.atomic import locked_folder, make_folder, write_json
from soundloom.errors import DownloadError, RequestError, WriteError, shown
from soundloom.folders import config_folder
from soundloom.untrusted.json import MAX_RECORD_BYTES, decode_json

log = logging.getLogger(__name__)
DOWNLOADS_FILE = "downloads.json"


def trusted_commit(repo: str) -> str | None:
    """Return the commit of the first download of a repository, for entries without a pinned commit."""
    commit = _read().get(repo, {}).get("commit")
    return commit if isinstance(commit, str) else None


def trusted_sha256(repo: str, commit: str, path: str) -> str | None:
    """Return the sha256 of the first download of a file."""
    digests = _read().get(repo, {}).get("sha256")
    digest = digests.get(f"{commit}/{path}") if isinstance(digests, dict) else None
    return digest if isinstance(digest, str) else None


def connections() -> dict[str, float | None]:
    """Return the repositories that were connected to, and when that was last; older records have no time."""
    return {
        repo: known.get("time") if isinstance(known.get("time"), float) else None for repo, known in _read().items()
    }


def record_connection(repo: str) -> None:
    """Record that a repository is connected to, also if nothing is downloaded then."""
    try:
        file = _file()
        make_folder(file.parent)
        with locked_folder(file.parent):
            table = _read()
            write_json(file, {**table, repo: {**table.get(repo, {}), "time": time.time()}})
    except (WriteError, RequestError) as error:
        log.warning("the connection to %s could not be recorded: %s", repo, error)


def record_download(repo: str, commit: str, digests: dict[str, str], *, is_default: bool) -> None:
    """Record a download with its `digests` by path. `is_default` says that the user chose no revision.

    Raises WriteError, RequestError without a configuration folder, and DownloadError for a damaged record.
    """
    file = _file()
    make_folder(file.parent)
    with locked_folder(file.parent):  # against concurrent downloads
        table = _read()
        known = table.get(repo, {})
        recorded = known.get("sha256") if isinstance(known.get("sha256"), dict) else {}
        sha256 = {**(recorded or {}), **{f"{commit}/{path}": digest for path, digest in digests.items()}}
        default = {"commit": commit} if is_default else {}
        write_json(file, {**table, repo: {**default, **known, "sha256": sha256}})


def _file() -> Path:
    return config_folder() / DOWNLOADS_FILE


def _read() -> dict[str, dict[str, Any]]:
    try:
        with _file().open("rb") as file:
            table = decode_json(file.read(MAX_RECORD_BYTES + 1), MAX_RECORD_BYTES)
    except (FileNotFoundError, NotADirectoryError, RequestError):  # no record, or no configuration folder
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(shown(str(error))) from error
    if not isinstance(table, dict) or not all(isinstance(known, dict) for known in table.values()):
        raise _damaged("it does not list repositories")
    return table


def _damaged(why: str) -> DownloadError:
    return DownloadError(f"{_file()} cannot be read: {why}", "remove it to trust the next downloads")
