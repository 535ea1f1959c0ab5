"""Translate errors of the hub's client into a DownloadError with one sentence and a hint."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from soundloom.checkpoints.hub.cache import cache_folder, path_in_repo
from soundloom.config.entries import Source
from soundloom.errors import DownloadError, shown

_NO_CONNECTION = ("ConnectError", "ConnectTimeout", "ConnectionError", "ProxyError")


@contextmanager
def download_errors(source: Source, what: str) -> Iterator[None]:
    """Turn any exception of the hub's client into a DownloadError, and silence its own warnings."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        yield
    # The client raises errors of several libraries, which differ between its versions.
    except Exception as error:
        raise _translate(error, source, what) from error
    finally:
        client.setLevel(level)


def downloads_disabled(source: Source) -> DownloadError:
    return DownloadError(
        f"{path_in_repo(source, source.files[0])} of {source.repo} is not in the cache, and downloads are disabled",
        f"allow one download (without --offline and HF_HUB_OFFLINE), or {_manual_download(source)}",
    )


def no_connection(source: Source, what: str) -> DownloadError:
    return DownloadError(
        f"this machine seems to be offline: {what} of {source.repo} could not be downloaded",
        f"connect and try again, or {_manual_download(source)}",
    )


def _manual_download(source: Source) -> str:
    names = ", ".join(path_in_repo(source, file) for file in source.files)
    page = f"https://huggingface.co/{source.repo}/tree/{source.revision or 'main'}"
    use = "name it by its path" if source.layout == "adapter" else "pass it with --model FOLDER"
    return (
        f"save {names} from {page} in a folder and {use}, "
        f"or copy {cache_folder(source.repo)} from a machine that has it"
    )


def _translate(error: Exception, source: Source, what: str) -> DownloadError:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__  # the answer of the server
    page = f"https://huggingface.co/{source.repo}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return downloads_disabled(source)
    if isinstance(error, errors.GatedRepoError):
        return DownloadError(
            f"{source.repo} is only open to accounts that accepted its terms",
            f"accept them on {page}, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.LocalEntryNotFoundError) or _is_unreachable(error):
        return no_connection(source, what)
    if isinstance(error, errors.RepositoryNotFoundError):
        return DownloadError(
            f"there is no repository {source.repo}, or this account has no access to it",
            f"open {page}, and log in with `hf auth login` if it is private",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DownloadError(f"{source.repo} has no such revision", "choose another with --revision")
    if isinstance(error, errors.EntryNotFoundError):
        hint = f"see {page}/tree/main" if source.layout == "adapter" else "choose another commit with --revision"
        return DownloadError(f"{source.repo} has no file {what}", hint)
    if "Consistency check failed" in str(error):
        return DownloadError(f"the download of {what} of {source.repo} is incomplete", "try again")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DownloadError(
        f"{what} of {source.repo} could not be downloaded: {shown(reason)}", "try again; complete files are kept"
    )


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether the connection failed; client libraries wrap this in their own errors."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError | socket.gaierror) or type(error).__name__ in _NO_CONNECTION:
            return True
        error = error.__cause__ or error.__context__
    return False
