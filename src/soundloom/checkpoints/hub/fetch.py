"""Downloads from the Hugging Face hub into its own cache: pinned commits and hashes, one sentence per fault.

The catalogue pins commits, and hashes of files where they are known; elsewhere the first download is what is trusted
from then on (`pins`). What is complete in the cache is used without asking the network, and offline nothing is asked.
"""

from __future__ import annotations

import hashlib
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from soundloom.checkpoints import pins
from soundloom.checkpoints.hashes import sha256_of
from soundloom.checkpoints.licenses import require_consent
from soundloom.config.catalogue import CATALOGUE
from soundloom.config.entries import ModelEntry, RemoteFile, Source
from soundloom.config.stable_audio.published import TEXT_ENCODER_FOLDER
from soundloom.errors import DownloadError, RequestError, WriteError, shown

log = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_FULL_COMMIT = 40
_GIT_HASH = 40  # digits
_IN_CACHE = re.compile(r"/models--(?P<repo>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/(?P<path>.+)$")
_PROXIES = ("https", "http", "all")  # beside these, the table may hold the names that go without
_NO_CONNECTION = ("ConnectError", "ConnectTimeout", "ConnectionError", "ProxyError")


@dataclass(frozen=True)
class Fetched:
    """Local files of a model: its weights (the first component of an npz set), and its text encoder's folder."""

    weights: Path
    text_encoder: Path | None = None


def fetch(
    entry: ModelEntry,
    layout: str = "published",
    *,
    revision: str | None = None,
    offline: bool | None = None,
    accept_license: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> Fetched:
    """Bring the files of a catalogue entry into the hub's cache and say where they are.

    `revision` replaces the pinned commit of the model's own repository. `offline` None follows HF_HUB_OFFLINE. The
    license options are those of `licenses.require_consent`. Raises DownloadError.
    """
    sources = sources_needed(entry, layout)
    return _locate(
        sources,
        fetch_folders(
            entry, layout, revision=revision, offline=offline, accept_license=accept_license, confirm=confirm
        ),
    )


def fetch_folders(
    entry: ModelEntry,
    layout: str = "published",
    *,
    revision: str | None = None,
    offline: bool | None = None,
    accept_license: bool = False,
    confirm: Callable[[str], bool] | None = None,
) -> list[Path]:
    """The same; return the local copy of each repository of `sources_needed`."""
    sources = sources_needed(entry, layout)
    revisions = [revision or sources[0].revision, *(source.revision for source in sources[1:])]
    offline = _hub_is_offline() if offline is None else offline
    folders = [_cached(*pair, offline) for pair in zip(sources, revisions, strict=True)]
    if None in folders:
        if offline:
            raise _switched_off(sources[folders.index(None)])
        require_consent(entry, accept_license, confirm)
    return [
        folder or _download(source, wanted) for source, wanted, folder in zip(sources, revisions, folders, strict=True)
    ]


def sources_needed(entry: ModelEntry, layout: str = "published") -> list[Source]:
    """The repositories, with their files, that a model in this layout needs."""
    source = entry.source(layout)
    if source.companions:
        return [source, *source.companions]
    needs_text_encoder = entry.text_encoder is not None and layout == "bf16-mirror"
    return [source, entry.text_encoder] if needs_text_encoder and entry.text_encoder else [source]


def files_needed(entry: ModelEntry, layout: str = "published") -> list[tuple[str, RemoteFile]]:
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


def _cached(source: Source, revision: str | None, offline: bool) -> Path | None:
    """The cached snapshot of a commit, if complete. A branch may have moved, so it is taken offline alone."""
    folder = _cache_folder(source.repo)
    if revision is None:
        revision = pins.trusted_commit(source.repo) or _branch(folder, "main")
    elif offline and not _COMMIT.fullmatch(revision):
        revision = _branch(folder, revision)
    if revision is None or not _COMMIT.fullmatch(revision):
        return None
    complete = (
        snapshot
        for snapshot in sorted((folder / "snapshots").glob(f"{revision}*"))
        if all((snapshot / _path_in_repo(source, file)).is_file() for file in source.files)
    )
    return next(complete, None)


def _cache_folder(repo: str) -> Path:
    """Where the hub's client keeps a repository; looking there ourselves is what asks no network."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _branch(folder: Path, name: str) -> str | None:
    """The commit that a branch had when it was fetched last."""
    try:
        return (folder / "refs" / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _download(source: Source, revision: str | None) -> Path:
    """Fetch all files of a source and compare their sizes and hashes; returns the snapshot's folder."""
    from huggingface_hub import hf_hub_download

    _require_network(source)
    _remove_incomplete(source.repo)
    is_default = revision == source.revision
    commit = _full_commit(source, revision or pins.trusted_commit(source.repo))
    digests = {}
    local = Path()
    for file in source.files:
        path = _path_in_repo(source, file)
        with _explained(source, path):
            local = Path(hf_hub_download(source.repo, path, revision=commit))
        commit = local.parents[path.count("/")].name
        digests[path] = _checked(source, file, local, commit, is_default)
    try:
        pins.store_pins(source.repo, commit or "", digests, is_default=is_default)
    except (WriteError, RequestError) as error:  # what was downloaded is whole, and can be used without
        log.warning("%s was downloaded, but later downloads cannot be compared with it: %s", source.repo, error)
    return local.parents[path.count("/")]


def _require_network(source: Source) -> None:
    """Raise DownloadError at once where the hub's name has no address; the client would try for half a minute."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if any(getproxies().get(kind) for kind in _PROXIES):  # which know the address themselves
        return
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError as error:
        raise _seems_offline(source, _path_in_repo(source, source.files[0])) from error


def _checked(source: Source, file: RemoteFile, local: Path, commit: str, is_default: bool) -> str:
    """The sha256 of a downloaded file. One that is not what was pinned is removed: DownloadError."""
    path = _path_in_repo(source, file)
    size, digest = local.stat().st_size, sha256_of(local)
    trusted = pins.trusted_sha256(source.repo, commit, path)
    fault = ""
    # Pinned sizes and hashes are those of the pinned commit; another one may rightly differ.
    if is_default and file.size is not None and size != file.size:
        fault = f"has {size} bytes, {file.size} were expected"
    elif is_default and file.sha256 is not None and digest != file.sha256:
        fault = f"has the sha256 {digest}, {file.sha256} is pinned"
    elif trusted is not None and digest != trusted:
        fault = f"has the sha256 {digest}, {trusted} was downloaded at first"
    if fault:
        blob = local.resolve()
        local.unlink()
        blob.unlink(missing_ok=True)
        raise DownloadError(
            f"{path} of {source.repo} {fault}; it was removed",
            "try again; if it happens twice, name a commit that you trust with --revision",
        )
    return digest


def _remove_incomplete(repo: str) -> None:
    """Remove partial files that killed downloads left: the client begins each download anew."""
    from filelock import FileLock, Timeout

    folder = _cache_folder(repo)
    for partial in (folder / "blobs").glob("*.incomplete"):
        lock = folder.parent / ".locks" / folder.name / f"{partial.name.split('.')[0]}.lock"
        # Who downloads a file holds its lock.
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            partial.unlink(missing_ok=True)


def download_faults(paths: Sequence[Path], sha256: Callable[[Path], str] = sha256_of) -> list[str]:
    """A sentence for each file of the download cache that is not what the hub, or the first download, said it is.

    Configurations and tokenizers beside the given files are looked at too.
    """
    beside = {other for path in paths if is_download(path) for other in path.parent.iterdir() if _is_small(other)}
    faults = []
    for path in dict.fromkeys([*paths, *sorted(beside)]):
        missed = (digest for digest in _recorded(path) if _hash_like(digest, path, sha256) != digest)
        if digest := next(missed, None):
            faults.append(f"{path} is damaged: its hash is not the recorded {digest}")
    return faults


def is_download(path: Path) -> bool:
    """Whether a file lies in the download cache, with a hash to compare it with."""
    return bool(_recorded(path))


def _is_small(path: Path) -> bool:
    return path.suffix in (".json", ".model") and path.is_file()


def _recorded(path: Path) -> list[str]:
    """The hashes that are known of a file in the download cache: sha256, or git's own of small files."""
    parts = _IN_CACHE.search(path.absolute().as_posix())
    if parts is None:
        return []
    repo, commit, name = parts["repo"].replace("--", "/", 1), parts["commit"], parts["path"]
    known = [pins.trusted_sha256(repo, commit, name), _pinned_sha256(repo, commit, name)]
    # The client names the stored file by the hash that the hub told.
    blob = path.readlink().name if path.is_symlink() else ""
    known.append(blob if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", blob) else None)
    return [digest for digest in dict.fromkeys(known) if digest is not None]


def _hash_like(digest: str, path: Path, sha256: Callable[[Path], str]) -> str:
    """The hash of a file in the form of another."""
    return _git_hash(path) if len(digest) == _GIT_HASH else sha256(path)


def _pinned_sha256(repo: str, commit: str, name: str) -> str | None:
    for entry in CATALOGUE.values():
        for source in (each for layout in entry.sources for each in sources_needed(entry, layout.layout)):
            if (source.repo, source.revision) == (repo, commit):
                for file in source.files:
                    if file.sha256 is not None and _path_in_repo(source, file) == name:
                        return file.sha256
    return None


def _git_hash(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _full_commit(source: Source, revision: str | None) -> str | None:
    """The full hash of a shortened commit; branches and full hashes stay as they are."""
    from huggingface_hub import HfApi

    if revision is None or len(revision) == _FULL_COMMIT or not _COMMIT.fullmatch(revision):
        return revision
    with _explained(source, "the list of commits"):
        commits = [commit.commit_id for commit in HfApi().list_repo_commits(source.repo)]
    matching = [commit for commit in commits if commit.startswith(revision)]
    if len(matching) != 1:
        raise DownloadError(
            f"{source.repo} has {len(matching) or 'no'} commits that begin with {revision}, the one that is asked for",
            "name another with --revision, for example --revision main",
        )
    return matching[0]


@contextmanager
def _explained(source: Source, what: str) -> Iterator[None]:
    """Turn whatever the hub's client raises into a DownloadError of one sentence, and keep its own lines to itself."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        yield
    # The client's errors come from several libraries that differ between its versions.
    except Exception as error:
        raise _explain(error, source, what) from error
    finally:
        client.setLevel(level)


def _switched_off(source: Source) -> DownloadError:
    return DownloadError(
        f"{_path_in_repo(source, source.files[0])} of {source.repo} is not in the cache and downloads are switched off",
        f"allow the network once (without --offline or HF_HUB_OFFLINE), or {_by_hand(source)}",
    )


def _seems_offline(source: Source, what: str) -> DownloadError:
    return DownloadError(
        f"this machine seems to be offline: {what} of {source.repo} could not be fetched",
        f"connect it and try again, or {_by_hand(source)}",
    )


def _by_hand(source: Source) -> str:
    """How to do without a download."""
    names = ", ".join(_path_in_repo(source, file) for file in source.files)
    page = f"https://huggingface.co/{source.repo}/tree/{source.revision or 'main'}"
    return (
        f"bring {names} from {page} in a folder and name it with --model FOLDER, "
        f"or copy {_cache_folder(source.repo)} from a machine that has it"
    )


def _explain(error: Exception, source: Source, what: str) -> DownloadError:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__  # the server did answer, and said why not
    page = f"https://huggingface.co/{source.repo}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _switched_off(source)
    if isinstance(error, errors.GatedRepoError):
        return DownloadError(
            f"{source.repo} is open only to accounts that accepted its terms",
            f"accept them on {page}, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.LocalEntryNotFoundError) or _is_unreachable(error):
        return _seems_offline(source, what)
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
        f"{what} of {source.repo} could not be fetched: {shown(reason)}", "try again; files that are whole are kept"
    )


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether no connection came about; client libraries wrap this in errors of their own."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError | socket.gaierror) or type(error).__name__ in _NO_CONNECTION:
            return True
        error = error.__cause__ or error.__context__
    return False
