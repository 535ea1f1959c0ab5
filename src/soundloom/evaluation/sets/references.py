"""Reference files: the moments of a set's embeddings, for distances without the sounds of the set.

A file NAME.safetensors holds `mean` (d,) and `covariance` (d, d) in float64, `count` (rows) and `bandwidth` (of the
kernel distance), and optionally the rows as `embeddings` (n, d), float32, with the index of each row's clip in `clips`
(n,). Its metadata states recipe, embedder, set and license by name and hash. Files in `references` of the user's data
folder have names.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.checkpoints.formats.safetensors import read_safetensors_and_metadata, write_safetensors
from soundloom.checkpoints.formats.tensors import Array, from_array
from soundloom.errors import CorruptFileError, MismatchError, RequestError, printable, shown
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.recipes import Recipe
from soundloom.folders import data_folder, expanded
from soundloom.untrusted.json import decode_json, is_file_name
from soundloom.version import __version__

FOLDER, ENDING = "references", ".safetensors"
FORMAT = "1"
OTHER_FIELDS = ("name", "about", "hash", "score", "text")  # of recipes, which the embeddings of sounds do not depend on
PROMPTS = "prompts"  # the fact that lists captions as prompts: id, text, seconds
CONTENTS = "contents"  # the fact that lists hashes of samples, to find sounds of other sets
SYMMETRY = 1e-6  # relative to the largest value of a covariance
TOLERANCE = 1e-4  # of moments against embeddings, which are rounded to float32
SHOWN_DIGITS = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """The embeddings of a set as moments, and as rows if these are kept.

    `clip_count` is the number of clips that the rows come from. `facts` are further JSON values about the set, such as
    its lengths and the bandwidth of its sounds.
    """

    name: str
    moments: Moments
    bandwidth: float
    clip_count: int
    recipe: Recipe
    embedder: str
    embedder_hash: str
    set_name: str
    set_hash: str
    license: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    embeddings: NDArray[np.float32] | None = None
    clips: NDArray[np.int64] | None = None
    version: str = __version__  # of soundloom, that wrote the file

    def require(self, recipe: Recipe, info: EmbedderInfo) -> None:
        """Raise MismatchError, which names what differs, for another recipe or embedder than the file's."""
        mine, other = asdict(self.recipe), asdict(recipe)
        differing = [
            f"{name} is {shown(other[name])}, in the reference {shown(mine[name])}"
            for name in mine
            if name not in OTHER_FIELDS and mine[name] != other[name]
        ]
        if self.embedder_hash != info.hash:
            differing.append(
                f"the embedder is {info.name} {info.hash[:SHOWN_DIGITS]}, "
                f"in the reference {self.embedder} {self.embedder_hash[:SHOWN_DIGITS]}"
            )
        if differing:
            raise MismatchError(
                f"the reference {shown(self.name)} was made by another recipe: {'; '.join(differing)}",
                f"use recipe {self.recipe.name} with {self.embedder}, or make a reference by this recipe",
            )

    def record(self) -> dict[str, Any]:
        """Return what a report says about the reference, as JSON values."""
        return {
            "name": self.name,
            "set": self.set_name,
            "sha256": self.set_hash,
            "license": self.license,
            "clips": self.clip_count,
            "windows": self.moments.count,
            "recipe": self.recipe.hash,
            "embedder": f"{self.embedder} {self.embedder_hash[:SHOWN_DIGITS]}",
            "soundloom": self.version,
            **{name: value for name, value in self.facts.items() if name not in (CONTENTS, PROMPTS)},
        }


def references_folder() -> Path:
    return data_folder() / FOLDER


def list_references() -> dict[str, Path]:
    """Return the files in the user's folder by name."""
    folder = references_folder()
    found = sorted(folder.glob(f"*{ENDING}")) if folder.is_dir() else []
    return {path.stem: path for path in found if not path.name.startswith(".")}  # temporary files are hidden


def reference_path(name: str | Path) -> Path:
    """Return the path of a file, or of a name in the user's folder. Raises RequestError for an invalid name."""
    text = str(name)
    if text.endswith(ENDING) or "/" in text or "\\" in text:
        return expanded(text if text.endswith(ENDING) else f"{text}{ENDING}")
    if not is_file_name(f"{text}{ENDING}") or not text or text.startswith("."):
        raise RequestError(f"a reference cannot be named '{shown(text)}'", "use letters, digits and hyphens")
    return references_folder() / f"{text}{ENDING}"


def is_reference(name: str | Path) -> bool:
    """Whether a source is a reference, rather than a set of sounds: a file of that ending, or a known name."""
    text = str(name)
    return text.endswith(ENDING) or (not Path(text).exists() and text in list_references())


def write_reference(name: str | Path, reference: Reference) -> Path:
    """Write a reference to a path, or under a name in the user's folder, and return the path. Raises WriteError."""
    path = reference_path(name)
    moments = reference.moments
    arrays: dict[str, Array] = {
        "mean": np.asarray(moments.mean, np.float64),
        "covariance": np.asarray(moments.covariance, np.float64),
        "count": np.array([moments.count], np.int64),
        "bandwidth": np.array([reference.bandwidth], np.float64),
    }
    if reference.embeddings is not None:
        arrays["embeddings"] = np.asarray(reference.embeddings, np.float32)
    if reference.clips is not None:
        arrays["clips"] = np.asarray(reference.clips, np.int64)
    metadata = {
        "format": FORMAT,
        "recipe": json.dumps(asdict(reference.recipe), ensure_ascii=False),
        "recipe_hash": reference.recipe.hash,
        "embedder": reference.embedder,
        "embedder_hash": reference.embedder_hash,
        "set": reference.set_name,
        "set_hash": reference.set_hash,
        "license": reference.license,
        "clips": str(reference.clip_count),
        "facts": json.dumps(dict(reference.facts), ensure_ascii=False),
        "soundloom": reference.version,
    }
    metadata["sha256"] = _digest(arrays, metadata)
    write_safetensors(path, [from_array(key, array) for key, array in arrays.items()], metadata)
    return path


def read_reference(name: str | Path) -> Reference:
    """Read a reference by path, or by its name in the user's folder.

    Raises RequestError if there is none, and CorruptFileError for files that are damaged or of a later version.
    """
    path = reference_path(name)
    if not path.is_file():
        raise _not_found(name)
    try:
        tensors, metadata = read_safetensors_and_metadata(path)
    except OSError as error:
        raise CorruptFileError(f"{printable(path)} cannot be read: {error.strerror}") from error
    if metadata.get("format") != FORMAT or not {"mean", "covariance", "count", "bandwidth"} <= tensors.keys():
        raise CorruptFileError(f"{printable(path)} is no reference file of this version of soundloom")
    arrays = {key: np.array(tensor.numpy()) for key, tensor in tensors.items()}
    stated = metadata.pop("sha256", "")
    if stated != _digest(arrays, metadata):
        raise CorruptFileError(f"{printable(path)} is damaged: its contents do not match its hash", "write it again")
    try:
        return _decoded(path.stem, arrays, metadata)
    except (ValueError, LookupError, TypeError) as error:
        raise CorruptFileError(f"{printable(path)} is no valid reference: {error}") from error


def _decoded(name: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> Reference:
    """Return the reference in a file's arrays and metadata. Raises ValueError, LookupError or TypeError."""
    count, bandwidth = int(arrays["count"][0]), float(arrays["bandwidth"][0])
    embeddings, clips = arrays.get("embeddings"), arrays.get("clips")
    _check(arrays["mean"], arrays["covariance"], count, bandwidth)
    if embeddings is not None:
        _check_rows(embeddings, clips, arrays, count)
    stored = decode_json(metadata["recipe"])
    if unknown := stored.keys() ^ {one.name for one in fields(Recipe)}:
        raise ValueError(f"its recipe has other fields than this version of soundloom knows: {', '.join(unknown)}")
    recipe = Recipe(**stored)
    if recipe.hash != metadata["recipe_hash"]:
        raise ValueError("its recipe does not match the hash of its recipe")
    return Reference(
        name=name,
        moments=Moments(count, arrays["mean"], arrays["covariance"] * (count - 1)),
        bandwidth=bandwidth,
        clip_count=int(metadata["clips"]),
        recipe=recipe,
        embedder=metadata["embedder"],
        embedder_hash=metadata["embedder_hash"],
        set_name=metadata["set"],
        set_hash=metadata["set_hash"],
        license=metadata["license"],
        facts=decode_json(metadata["facts"]),
        embeddings=embeddings,
        clips=clips,
        version=metadata["soundloom"],
    )


def _check(mean: Array, covariance: Array, count: int, bandwidth: float) -> None:
    if mean.dtype != np.float64 or covariance.dtype != np.float64:
        raise ValueError("mean and covariance must be float64")
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"mean has shape {mean.shape} and covariance {covariance.shape}")
    if count < 2 or not (0 <= bandwidth < np.inf):
        raise ValueError(f"it has {count} rows and bandwidth {bandwidth:g}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("its moments are not finite")
    size = float(np.abs(covariance).max(initial=0.0))
    if np.abs(covariance - covariance.T).max(initial=0.0) > SYMMETRY * size or covariance.diagonal().min() < 0:
        raise ValueError("its covariance is not that of any embeddings")


def _check_rows(embeddings: Array, clips: Array | None, arrays: Mapping[str, Array], count: int) -> None:
    if embeddings.dtype != np.float32 or embeddings.shape != (count, len(arrays["mean"])):
        raise ValueError(f"embeddings are {embeddings.dtype} {embeddings.shape}, for {count} rows")
    if clips is not None and (clips.shape != (count,) or clips.dtype != np.int64):
        raise ValueError(f"clips are {clips.dtype} {clips.shape}, for {count} rows")
    moments = Moments.of(embeddings)
    for found, stored in ((moments.mean, arrays["mean"]), (moments.covariance, arrays["covariance"])):
        if np.abs(found - stored).max() > TOLERANCE * max(np.abs(found).max(), np.finfo(np.float32).tiny):
            raise ValueError("its moments are not those of its embeddings")


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _not_found(name: str | Path) -> RequestError:
    known = list_references()
    close = difflib.get_close_matches(str(name), known, 1)
    guess = f"did you mean {close[0]}? " if close else ""
    listed = (
        f"known: {', '.join(known)}" if known else "make one with `soundloom eval set SOUNDS --save-reference NAME`"
    )
    return RequestError(f"there is no reference {shown(str(name))}", f"{guess}{listed}")
