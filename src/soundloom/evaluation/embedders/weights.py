"""Where the weights of embedders come from, and where they are on this machine.

Weights inside packages of the index are converted once, by `fetch`, to a safetensors file in the cache folder; those of
CLAP stay in the hub's cache. All hashes that are known are pinned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundloom.checkpoints.hashes import sha256_of
from soundloom.config.entries import RemoteFile, Source
from soundloom.errors import CorruptFileError, ModelNotFoundError
from soundloom.folders import cache_folder


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside a wheel of the package index; `sha256` is that of the converted file."""

    name: str
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    sha256: str
    license: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class HubWeights:
    """Weights in a repository of the hub; files without a pinned sha256 must stay as at their first download."""

    name: str
    source: Source
    license: str


_MUSICNN = (
    "musicnn",
    "0.1.0",
    "musicnn-0.1.0-py3-none-any.whl",
    "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
)
_MUSICNN_LICENSE = "ISC; Universitat Pompeu Fabra"
PACKAGED = {
    "aisfx": PackagedWeights(
        "aisfx",
        "aisfx",
        "0.1.2",
        "aisfx-0.1.2-py2.py3-none-any.whl",
        "bfe219950715af179e9a1653e7117cc1852baef267cd6596c42cad74afe1d194",
        "2f78247e75dd01b93c0730cfc1c02b2963867dfed6f92e63e896f2b68783dc36",
        "CC BY 4.0; A. B. Ma and A. Lerch",
    ),
    "musicnn": PackagedWeights(
        "musicnn",
        *_MUSICNN,
        "dde77830fd96fffa76cef3c558f069dad066a8d7fcc41950c643413c4b32772b",
        _MUSICNN_LICENSE,
    ),
    "musicnn-msd": PackagedWeights(
        "musicnn-msd",
        *_MUSICNN,
        "069fd8561187ed66fadab5c64fd326a8b2e3d0debfb27af96704d1c5bb3855d7",
        _MUSICNN_LICENSE,
    ),
}

_CLAP_FILES: tuple[str, ...] = (
    "pytorch_model.bin",
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_CLAP_FILES += ("special_tokens_map.json", "vocab.json", "merges.txt")
_SHARED: dict[str, str] = {
    "preprocessor_config.json": "9739f58296aa6f9ac18008fd0150fb2649bc554985fbde86d0a4041c882ac753",
    "special_tokens_map.json": "06e405a36dfe4b9604f484f6a1e619af1a7f7d09e34a8555eb0b77b66318067f",
    "vocab.json": "ed19656ea1707df69134c4af35c8ceda2cc9860bf2c3495026153a133670ab5e",
}
_LARGER = {
    **_SHARED,
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "tokenizer_config.json": "e2eb445cfdbf4711de620cbdf10478b0423950799e85652d9f28da47066ab86d",
}


def _clap(
    name: str, repo: str, revision: str, size: int, hashes: dict[str, str], without: tuple[str, ...] = ()
) -> HubWeights:
    """Describe a CLAP repository; `size` is that of its weights in bytes, `hashes` the sha256 of files, if known.

    Files in `without` may not exist: the tokenizer can also be made from its vocabulary and merges.
    """
    sizes = {"pytorch_model.bin": size}
    files = (RemoteFile(path, sizes.get(path), hashes.get(path)) for path in _CLAP_FILES if path not in without)
    return HubWeights(name, Source("transformers", repo, tuple(files), revision), "Apache-2.0; LAION")


# Commits and hashes as stated by public pages that pin these repositories; the files themselves were not at hand.
# A file without a hash is recorded at its first download, and must stay as it was then.
HUB = {
    "clap-music-speech": _clap(
        "clap-music-speech",
        "laion/larger_clap_music_and_speech",
        "195c3a3e68faebb3e2088b9a79e79b43ddbda76b",
        776444665,
        {
            **_LARGER,
            "pytorch_model.bin": "b73c5e596fda5b29b522a1ab3f0842977fe2b147bf8b78c2ec5f7ae6267038a1",
            "config.json": "04733de73869ed861b469b275a0f31d04a7004f578234bcc3d080fd38da6c4db",
            "tokenizer.json": "dc239041d98de27ffc3975473a1a23e3db4c937b23c138c38bbc66588bd247e5",
        },
    ),
    "clap-music": _clap(
        "clap-music",
        "laion/larger_clap_music",
        "a0b4534a14f58e20944452dff00a22a06ce629d1",
        776444665,
        {
            "pytorch_model.bin": "5c289311f4a030d768af7ffbfdecd01b008aa64824211899a4e59f4f9d154fd1",
            "vocab.json": _LARGER["vocab.json"],
            "merges.txt": _LARGER["merges.txt"],
        },
        ("tokenizer.json",),
    ),
    "clap-general": _clap(
        "clap-general",
        "laion/larger_clap_general",
        "ada0c23a36c4e8582805bb38fec3905903f18b41",
        776444665,
        {
            **_LARGER,
            "pytorch_model.bin": "314eb00cce6ad68d25237b8446b659ccdb136ed4672c1bca470f142f72455026",
            "config.json": "6268f76a067e3104bf9001e97d7dcc0fcfb16f3086cfb478ee72d95900d7fc1d",
        },
    ),
    "clap-htsat-unfused": _clap(
        "clap-htsat-unfused",
        "laion/clap-htsat-unfused",
        "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
        614525833,
        {
            **_SHARED,
            "pytorch_model.bin": "1cd3c601bc4afe0fa87be3de4c13dd2cfadd249fac1e29acf74a9b296c3219bb",
            "config.json": "9efb9557bc804f2ca6e394486af2e45dfed0b18554909735a99c6220b84e4288",
            "merges.txt": "fe36cab26d4f4421ed725e10a2e9ddb7f799449c603a96e7f29b5a3c82a95862",
            "tokenizer.json": "77ef92283d67f0d97e1454909a964afcbfa2019f0fb9f18f8e88d5c25c3ba729",
            "tokenizer_config.json": "377f91458f7729a4574a84c77bdce67dbc3c58c1a345a29bbf8c4eb1307948a3",
        },
    ),
}


def weights_path(weights: PackagedWeights) -> Path:
    """Return where the converted weights are, or would be."""
    return cache_folder() / "embedders" / f"{weights.name}.safetensors"


def require_weights(weights: PackagedWeights) -> Path:
    """Return the converted weights. Raises ModelNotFoundError if they are missing, CorruptFileError if changed."""
    path = weights_path(weights)
    if not path.is_file():
        raise ModelNotFoundError(f"the weights of {weights.name} are not on this machine", fetch_hint(weights.name))
    if sha256_of(path) != weights.sha256:
        raise CorruptFileError(f"{path} is damaged: its sha256 is not the pinned one", fetch_hint(weights.name))
    return path


def fetch_hint(name: str) -> str:
    return f"fetch them once: soundloom eval fetch {name}"


def embedder_hash(weights: str, constants: Sequence[Any]) -> str:
    """Return the hash of an embedder from the sha256 of its weights and the constants of its front end."""
    return hashlib.sha256(json.dumps([weights, *constants]).encode()).hexdigest()
