"""Downloads from the Hugging Face hub into its own cache: pinned commits, resumed transfers, one sentence per fault.

The catalogue pins the first digits of commits. What is complete in the cache is used without asking the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soundloom.checkpoints.licences import require_consent
from soundloom.config.entries import Entry, RemoteFile, Source
from soundloom.config.published import TEXT_ENCODER_FOLDER
from soundloom.errors import DownloadError

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_FULL_COMMIT = 40


@dataclass(frozen=True)
class Fetched:
    """Local files of a model: its weights (the first component of an npz set), and its text encoder's folder."""

    weights: Path
    text_encoder: Path | None = None


def fetch(
    entry: Entry,
    layout: str = "published",
    *,
    revision: str | None = None,
    offline: bool | None = None,
    accept_licence: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> Fetched:
    """Bring the files of a catalogue entry into the hub's cache and say where they are.

    `revision` replaces the pinned commit of the model's own repository. `offline` None follows HF_HUB_OFFLINE. The
    licence options are those of `licences.require_consent`. Raises DownloadError.
    """
    sources = sources_needed(entry, layout)
    return _locate(
        sources,
        fetch_folders(
            entry, layout, revision=revision, offline=offline, accept_licence=accept_licence, confirm=confirm
        ),
    )


def fetch_folders(
    entry: Entry,
    layout: str = "published",
    *,
    revision: str | None = None,
    offline: bool | None = None,
    accept_licence: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> list[Path]:
    """The same; return the local copy of each repository of `sources_needed`."""
    sources = sources_needed(entry, layout)
    revisions = [revision or sources[0].revision, *(source.revision for source in sources[1:])]
    offline = _hub_is_offline() if offline is None else offline
    folders = [_cached(*pair) for pair in zip(sources, revisions, strict=True)]
    if None in folders and not offline:
        require_consent(entry, accept_licence, confirm)
    return [
        folder or _download(source, wanted, offline)
        for source, wanted, folder in zip(sources, revisions, folders, strict=True)
    ]


def sources_needed(entry: Entry, layout: str = "published") -> list[Source]:
    """The repositories, with their files, that a model in this layout needs."""
    source = entry.source(layout)
    if source.companions:
        return [source, *source.companions]
    needs_text_encoder = entry.text_encoder is not None and layout == "bf16-mirror"
    return [source, entry.text_encoder] if needs_text_encoder and entry.text_encoder else [source]


def files_needed(entry: Entry, layout: str = "published") -> list[tuple[str, RemoteFile]]:
    """Repository and file of everything that `fetch` would bring."""
    return [(source.repo, file) for source in sources_needed(entry, layout) for file in source.files]


def _locate(sources: list[Source], folders: list[Path]) -> Fetched:
    weights = next(file.path for file in sources[0].files if not file.path.endswith(".json"))
    text_encoder = folders[-1] / TEXT_ENCODER_FOLDER
    return Fetched(folders[0] / sources[0].subfolder / weights, text_encoder if text_encoder.is_dir() else None)


def _path_in_repo(source: Source, file: RemoteFile) -> str:
    return f"{source.subfolder}/{file.path}" if source.subfolder else file.path


def _hub_is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _cached(source: Source, revision: str | None) -> Path | None:
    """The cached snapshot of a commit, if complete. A branch may have moved, so it is never taken unasked."""
    from huggingface_hub import constants

    if revision is None or not _COMMIT.fullmatch(revision):
        return None
    folder = Path(constants.HF_HUB_CACHE) / f"models--{source.repo.replace('/', '--')}" / "snapshots"
    complete = (
        snapshot
        for snapshot in sorted(folder.glob(f"{revision}*"))
        if all((snapshot / _path_in_repo(source, file)).is_file() for file in source.files)
    )
    return next(complete, None)


def _download(source: Source, revision: str | None, offline: bool) -> Path:
    """Fetch all files of a source; returns the snapshot's folder."""
    from huggingface_hub import hf_hub_download

    commit = revision if offline else _full_commit(source, revision)
    local = Path()
    for file in source.files:
        path = _path_in_repo(source, file)
        with _explained(source, path, offline):
            local = Path(hf_hub_download(source.repo, path, revision=commit, local_files_only=offline))
        # Sizes are those of the pinned commit; another one may rightly differ.
        if file.size is not None and revision == source.revision and local.stat().st_size != file.size:
            raise DownloadError(
                f"{path} of {source.repo} has {local.stat().st_size} bytes, {file.size} were expected",
                f"delete {local} and fetch it again",
            )
    return local.parents[path.count("/")]


def _full_commit(source: Source, revision: str | None) -> str | None:
    """The full hash of a shortened commit; branches and full hashes stay as they are."""
    from huggingface_hub import HfApi

    if revision is None or len(revision) == _FULL_COMMIT or not _COMMIT.fullmatch(revision):
        return revision
    with _explained(source, "the list of commits", offline=False):
        commits = [commit.commit_id for commit in HfApi().list_repo_commits(source.repo)]
    matching = [commit for commit in commits if commit.startswith(revision)]
    if len(matching) != 1:
        raise DownloadError(
            f"{source.repo} has {len(matching) or 'no'} commits that begin with {revision}, the one that is asked for",
            "name another with --revision, for example --revision main",
        )
    return matching[0]


@contextmanager
def _explained(source: Source, what: str, offline: bool) -> Iterator[None]:
    """Turn whatever the hub's client raises into a DownloadError of one sentence with its remedy."""
    try:
        yield
    # The client's errors come from several libraries that differ between its versions.
    except Exception as error:
        raise _explain(error, source, what, offline) from error


def _explain(error: Exception, source: Source, what: str, offline: bool) -> DownloadError:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__  # the server did answer, and said why not
    page = f"https://huggingface.co/{source.repo}"
    if offline or isinstance(error, errors.OfflineModeIsEnabled):
        return DownloadError(
            f"{what} of {source.repo} is not in the cache and downloads are switched off",
            "allow the network once (without --offline or HF_HUB_OFFLINE), or name a folder",
        )
    if isinstance(error, errors.GatedRepoError):
        return DownloadError(
            f"{source.repo} is open only to accounts that accepted its terms",
            f"accept them on {page}, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return DownloadError(
            f"the network does not answer, so {what} of {source.repo} could not be fetched",
            "check the connection and try again; what has arrived is kept",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return DownloadError(
            f"there is no repository {source.repo}, or this account may not see it",
            f"open {page}, and log in with `hf auth login` where it is private",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DownloadError(f"{source.repo} has no such revision", "name another with --revision")
    if isinstance(error, errors.EntryNotFoundError):
        return DownloadError(f"{source.repo} has no file {what}", "name another commit with --revision")
    if "Consistency check failed" in str(error):
        return DownloadError(f"{what} of {source.repo} arrived incomplete", "try again")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DownloadError(
        f"{what} of {source.repo} could not be fetched: {reason}", "try again; what has arrived is kept"
    )
