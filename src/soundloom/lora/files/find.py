"""Find adapters by path, by their name in a folder, by Hub repository, and by their hash.

A folder names its adapters by their files without suffix, and those one level deeper as `SUBFOLDER/NAME`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from soundloom.errors import ModelNotFoundError, RequestError, SoundloomError, printable, shown
from soundloom.folders import expanded, loras_folder
from soundloom.lora.adapter import Adapter
from soundloom.lora.files.detect import SUFFIXES, adapters_in
from soundloom.lora.files.index import index_adapter, indexed_path
from soundloom.lora.files.parts import some
from soundloom.lora.files.read import read_adapter

__all__ = ["find_adapter", "index_adapter", "list_adapters", "locate_adapter", "read"]

_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:/(?P<file>.+))?")
_SHOWN_DIGITS = 12  # of a hash


def read(
    name: str | Path, *, exclude: Sequence[str] = (), ema: bool = False, folder: str | Path | None = None
) -> Adapter:
    """Read an adapter by path, by its name in a folder, or by Hub repository: see `find_adapter` and `read_adapter`."""
    return read_adapter(find_adapter(name, folder), exclude=exclude, ema=ema)


def find_adapter(name: str | Path, folder: str | Path | None = None, *, offline: bool | None = None) -> Path:
    """Return the file or folder of an adapter: of this path, of this name in `folder`, or of a Hub repository.

    `folder` is by default SOUNDLOOM_LORAS, or `loras` in the data folder. `OWNER/REPO`, or `OWNER/REPO/FILE`, is
    downloaded unless it is cached; `offline` None follows HF_HUB_OFFLINE. Raises ModelNotFoundError, RequestError or
    DownloadError.
    """
    name = str(name)
    if not name.strip():
        raise RequestError("the name of an adapter is empty")
    found = _find_local(name, folder)
    if found is not None:
        return found
    hub = _HUB_ID.fullmatch(name)
    if hub is None or (name.endswith(SUFFIXES) and name.count("/") < 2):
        raise _not_found(name, folder)
    from soundloom.checkpoints.hub.adapter import fetch_adapter

    return fetch_adapter(hub["repo"], hub["file"] or "", offline=offline)


def list_adapters(folder: str | Path | None = None) -> dict[str, Path]:
    """Return the adapters of a folder by name, damaged ones included; none if the folder does not exist."""
    place = _folder(folder)
    if not place.is_dir():
        return {}
    found = _named(adapters_in(place))
    for inner in sorted(path for path in place.iterdir() if path.is_dir() and path not in found.values()):
        if not inner.name.startswith("."):
            found |= {f"{inner.name}/{name}": path for name, path in _named(adapters_in(inner)).items()}
    return found


def locate_adapter(name: str, sha256: str, folder: str | Path | None = None) -> Path:
    """Return the path of the adapter with this hash: where it was last, or under its name. Nothing is downloaded.

    Raises ModelNotFoundError.
    """
    tried: list[Path] = []
    for path in _candidates(name, sha256, folder):
        if path not in tried:
            tried.append(path)
            if _hash_of(path) == sha256:
                return path
    what = f"the adapter {shown(name)} with the sha256 {sha256[:_SHOWN_DIGITS]}… is not on this machine"
    changed = f"; {printable(tried[0])} is another one, or has changed" if tried else ""
    raise ModelNotFoundError(f"{what}{changed}", "copy it to the folder of adapters, or name another one")


def _candidates(name: str, sha256: str, folder: str | Path | None) -> list[Path]:
    last, named = indexed_path(sha256), _find_cached(name, folder)
    return [*([last] if last else []), *([named] if named else []), *list_adapters(folder).values()]


def _find_cached(name: str, folder: str | Path | None) -> Path | None:
    try:
        return find_adapter(name, folder, offline=True)
    except SoundloomError:
        return None


def _hash_of(path: Path) -> str | None:
    try:
        return read_adapter(path).sha256
    except SoundloomError:
        return None


def _folder(folder: str | Path | None) -> Path:
    return loras_folder() if folder is None else expanded(folder)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # names that are too long, or that no file can have
        return False


def _find_local(name: str, folder: str | Path | None) -> Path | None:
    """Return the adapter of a path or of a name in the folder. Raises RequestError for a name of several."""
    path = expanded(name)
    if _exists(path):
        return path
    place = _folder(folder)
    if path.is_absolute() or not place.is_dir():
        return None
    exact = [place / f"{name}{suffix}" for suffix in ("", *SUFFIXES) if _exists(place / f"{name}{suffix}")]
    if not exact:
        # sa3.cpp looks for lora-NAME-*.gguf.
        known = list_adapters(place)
        wanted = (name.lower(), f"lora-{name.lower()}-")
        exact = [path for key, path in known.items() if key.lower() == wanted[0] or key.lower().startswith(wanted[1])]
    if len(exact) > 1:
        names = some((path.name for path in exact), 8)
        raise RequestError(f"{printable(place)} has several adapters of the name {shown(name)}: {names}", "name one")
    return exact[0] if exact else None


def _not_found(name: str, folder: str | Path | None) -> ModelNotFoundError:
    place = _folder(folder)
    known, beside = list(list_adapters(place)), _files_beside(expanded(name))
    close = difflib.get_close_matches(name, known, 3, 0.5)
    close += [str(beside[key]) for key in difflib.get_close_matches(expanded(name).name, list(beside), 3, 0.6)]
    if close:
        hint = f"did you mean {' or '.join(map(printable, dict.fromkeys(close)))}?"
    elif known:
        hint = f"{printable(place)} has {some(known, 8)}"
    else:
        hint = f"name a file, a Hub repository as OWNER/REPO, or put adapters into {printable(place)}"
    return ModelNotFoundError(f"there is no adapter {shown(name)}", hint)


def _files_beside(path: Path) -> dict[str, Path]:
    """Return the files beside a path that may be adapters, by name with and without suffix."""
    with suppress(OSError, ValueError):
        files = [other for other in path.parent.iterdir() if other.suffix in SUFFIXES]
        return {other.stem: other for other in files} | {other.name: other for other in files}
    return {}


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Name paths by their stems, or by their complete names where stems are not unique."""
    stems = [path.name if path.is_dir() else path.stem for path in paths]
    return {stem if stems.count(stem) == 1 else path.name: path for stem, path in zip(stems, paths, strict=True)}
