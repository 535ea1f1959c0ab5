"""What was downloaded first is what is trusted: the commit of each repository and the sha256 of its files.

The record is `downloads.json` in the user's settings, so that it outlives the download cache:
`{"owner/name": {"commit": "…", "sha256": {"COMMIT/path": "…"}}}`. `commit` is missing where only commits that were
named with `--revision` were ever fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundloom.atomic import locked_folder, make_folder, write_json
from soundloom.errors import DownloadError, RequestError, shown
from soundloom.folders import config_folder
from soundloom.untrusted.json import LONGEST_RECORD, decode_json

DOWNLOADS_FILE = "downloads.json"


def trusted_commit(repo: str) -> str | None:
    """The commit that was downloaded first, where the catalogue pins none."""
    commit = _read().get(repo, {}).get("commit")
    return commit if isinstance(commit, str) else None


def trusted_sha256(repo: str, commit: str, path: str) -> str | None:
    """The sha256 that a file had when it was downloaded first."""
    digests = _read().get(repo, {}).get("sha256")
    digest = digests.get(f"{commit}/{path}") if isinstance(digests, dict) else None
    return digest if isinstance(digest, str) else None


def store_pins(repo: str, commit: str, digests: dict[str, str], *, is_default: bool) -> None:
    """Note what was downloaded; `digests` by path. `is_default` says that nobody had named another commit.

    Raises WriteError, RequestError without a folder for settings, and DownloadError for a record that is damaged.
    """
    place = _place()
    make_folder(place.parent)
    with locked_folder(place.parent):  # others may be noting theirs
        table = _read()
        known = table.get(repo, {})
        noted = known.get("sha256") if isinstance(known.get("sha256"), dict) else {}
        sha256 = {**(noted or {}), **{f"{commit}/{path}": digest for path, digest in digests.items()}}
        default = {"commit": commit} if is_default else {}
        write_json(place, {**table, repo: {**default, **known, "sha256": sha256}})


def _place() -> Path:
    return config_folder() / DOWNLOADS_FILE


def _read() -> dict[str, dict[str, Any]]:
    try:
        with _place().open("rb") as file:
            table = decode_json(file.read(LONGEST_RECORD + 1), LONGEST_RECORD)
    except (FileNotFoundError, NotADirectoryError, RequestError):  # nothing was noted, or there is no folder for it
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(shown(str(error))) from error
    if not isinstance(table, dict) or not all(isinstance(known, dict) for known in table.values()):
        raise _damaged("it does not list repositories")
    return table


def _damaged(why: str) -> DownloadError:
    return DownloadError(f"{_place()} cannot be read: {why}", "remove it to trust the next downloads anew")
