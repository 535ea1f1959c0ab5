"""Download adapters from repositories of the hub, whose files are not known in advance.

The first download is trusted and recorded, as for models without a pinned commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from soundloom.checkpoints.hub import first_downloads
from soundloom.checkpoints.hub.cache import find_snapshot
from soundloom.checkpoints.hub.errors import download_errors, downloads_disabled
from soundloom.checkpoints.hub.fetch import download, hub_is_offline, require_network
from soundloom.config.entries import RemoteFile, Source
from soundloom.errors import DownloadError, ModelNotFoundError, RequestError

# Kinds of files in order of preference: the first that a repository has decides.
_TIERS = ((".safetensors",), (".gguf",), (".ckpt", ".pt", ".pth"))
_SUFFIXES = tuple(suffix for tier in _TIERS for suffix in tier)
_PEFT_CONFIG = "adapter_config.json"
_PEFT_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_OF_TRAINING = ("optimizer.pt", "scheduler.pt")
_MAX_LISTED = 8


def fetch_adapter(repo: str, file: str = "", *, offline: bool | None = None) -> Path:
    """Return a local adapter of a repository: `file`, the one in its folder `file`, or its only one.

    Files that are cached need no download; without `file` the list of files is requested unless `offline`. Raises
    DownloadError, RequestError if there are several adapters, and ModelNotFoundError if there is none.
    """
    offline = hub_is_offline() if offline is None else offline
    if ".." in PurePosixPath(file).parts:
        raise RequestError(f"{repo}/{file} is not a file of a repository")
    is_whole = file.endswith(_SUFFIXES) and PurePosixPath(file).name not in _PEFT_WEIGHTS
    chosen = [file] if is_whole else _choose(repo, _names(repo, offline), file)
    source = _source(repo, chosen)
    snapshot = find_snapshot(source, None, offline)
    if snapshot is None:
        if offline:
            raise downloads_disabled(source)
        snapshot = download(source, None)
    local = snapshot / chosen[-1]
    return local if len(chosen) == 1 else local.parent


def _source(repo: str, names: Sequence[str]) -> Source:
    return Source("adapter", repo, tuple(RemoteFile(name) for name in names))


def _names(repo: str, offline: bool) -> list[str]:
    """Return the files of a repository; those in the cache if it cannot be asked."""
    folder = find_snapshot(_source(repo, ()), None, True)
    cached = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] if folder else []
    source = _source(repo, ["its adapter"])
    if offline:
        if not cached:
            raise downloads_disabled(source)
        return cached
    try:
        return _list(source)
    except DownloadError:
        if not cached:
            raise
        return cached


def _list(source: Source) -> list[str]:
    from huggingface_hub import HfApi

    require_network(source)
    first_downloads.record_connection(source.repo)
    with download_errors(source, "the list of files"):
        return list(HfApi().list_repo_files(source.repo, revision=first_downloads.trusted_commit(source.repo)))


def _choose(repo: str, names: Sequence[str], file: str) -> list[str]:
    """Return the files of the adapter `file`, of the only one in its folder, or of the only one of all."""
    inside = [name for name in names if not file or name == file or name.startswith(f"{file}/")]
    found: list[list[str]] = []
    for tier in _TIERS:
        found = [_with_config(name, names) for name in sorted(inside) if _is_adapter(name, tier)]
        if found:
            break
    else:
        found = [_with_config(name, names) for name in inside if PurePosixPath(name).name in _PEFT_WEIGHTS]
    where = f"{repo}/{file}" if file else repo
    if not found:
        hint = f"it has {', '.join(sorted(names)[:_MAX_LISTED])}" if names else "the repository is empty"
        raise ModelNotFoundError(f"there is no adapter in {where}", hint)
    if len(found) > 1:
        listed = ", ".join(files[-1] for files in found[:_MAX_LISTED])
        more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
        raise RequestError(f"{where} holds {len(found)} adapters: {listed}{more}", f"name one: {repo}/{found[0][-1]}")
    return found[0]


def _is_adapter(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.endswith(suffixes) and PurePosixPath(name).name not in _OF_TRAINING


def _with_config(name: str, names: Sequence[str]) -> list[str]:
    """Return an adapter's file, after the configuration of PEFT if it has one."""
    path = PurePosixPath(name)
    config = str(path.parent / _PEFT_CONFIG)
    return [config, name] if path.name in _PEFT_WEIGHTS and config in names else [name]
