"""The catalogue of named models: their files, licenses, defaults and published configurations.

Configurations are built from the few values in which the published models differ. Source: the `model_config.json`
files and file lists of the Stable Audio 3 repositories.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundloom.config import published_hashes as hashes
from soundloom.config.entries import APACHE, STABILITY, ModelEntry, RemoteFile, Source
from soundloom.config.musicgen.catalogue import MUSIC
from soundloom.config.stable_audio.published import (
    LARGE_ESTIMATE,
    MEDIUM,
    SMALL,
    TEXT_ENCODER_FOLDER,
    autoencoder_config,
    generator_config,
)
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.errors import ModelNotFoundError

OPTIMIZED_REPO = "stabilityai/stable-audio-3-optimized"
MIRROR_REPO = "AEmotionStudio/stable-audio-3-mirrors"
PUBLISHED_TEXT_ENCODER = T5GemmaConfig()


_SMALL_BYTES, _MEDIUM_BYTES = 2_270_384_940, 9_222_116_660
_TEXT_ENCODER_FILES = (
    RemoteFile(f"{TEXT_ENCODER_FOLDER}/config.json", sha256=hashes.TEXT_ENCODER_CONFIG),
    RemoteFile(f"{TEXT_ENCODER_FOLDER}/model.safetensors", 1_183_022_944, hashes.TEXT_ENCODER),
    RemoteFile(f"{TEXT_ENCODER_FOLDER}/tokenizer.model", sha256=hashes.TEXT_ENCODER_TOKENIZER),
)
_NPZ_SIZES = {
    "dit_medium_f16.npz": 2_907_300_946,
    "dit_sm-music_f16.npz": 919_193_814,
    "dit_sm-sfx_f16.npz": 919_193_814,
    "same_l_decoder_f32.npz": 1_704_311_976,
    "same_l_encoder_f32.npz": 1_704_313_504,
    "same_s_decoder_f32.npz": 218_090_820,
    "same_s_encoder_f32.npz": 214_946_620,
    "t5gemma_f16.npz": 567_443_068,
}


def _repo(name: str) -> str:
    return f"stabilityai/stable-audio-3-{name}"


def _weights(size: int | None = None, name: str = "") -> tuple[RemoteFile, ...]:
    config, weights = hashes.PUBLISHED.get(name, (None, None))
    return (RemoteFile("model_config.json", sha256=config), RemoteFile("model.safetensors", size, weights))


def _mirror(name: str) -> Source:
    return Source("bf16-mirror", MIRROR_REPO, _weights(), subfolder=name)


def _npz(*names: str) -> Source:
    files = tuple(RemoteFile(name, _NPZ_SIZES.get(name), hashes.NPZ.get(name)) for name in names)
    return Source("npz", OPTIMIZED_REPO, files, revision="da6edc54ddba10bfd79a077102ded687f80e882b", subfolder="MLX")


def _same_npz(letter: str) -> tuple[str, str]:
    return f"same_{letter}_encoder_f32.npz", f"same_{letter}_decoder_f32.npz"


def _autoencoder(name: str, revision: str, size: int, wide: bool) -> ModelEntry:
    published = Source("published", f"stabilityai/{name.upper()}", _weights(size, name), revision)
    return ModelEntry(
        name=name,
        kind="autoencoder",
        config=lambda: autoencoder_config(wide),
        sources=(published, _mirror(name), _npz(*_same_npz(name[-1]))),
        licenses=(STABILITY,),
    )


def _published(name: str, revision: str, size: int) -> Source:
    """Return the repository of a generator by Stability AI, which includes the text encoder."""
    return Source("published", _repo(name), _weights(size, name) + _TEXT_ENCODER_FILES, revision)


def _distilled(
    name: str, published: Source, *others: Source, aliases: tuple[str, ...] = (), wide: bool = False
) -> ModelEntry:
    """Return a post-trained generator, whose `published` repository includes the text encoder.

    `others` are sources in other layouts; `wide` selects the sizes of medium.
    """
    sizes, sample_size = (MEDIUM, 16_777_216) if wide else (SMALL, 5_292_032)
    return ModelEntry(
        name=name,
        kind="generator",
        config=lambda: generator_config(published.repo, sample_size, sizes, wide, distilled=True),
        sources=(published, *others),
        aliases=aliases,
        autoencoder="same-l" if wide else "same-s",
        text_encoder=replace(published, files=_TEXT_ENCODER_FILES),
        max_seconds=380.0 if wide else 120.0,
    )


def _base(distilled: ModelEntry, published: Source, *others: Source) -> ModelEntry:
    """Return the base model of `distilled`; both share a text encoder."""
    wide = distilled.autoencoder == "same-l"
    sizes, sample_size = (MEDIUM, 16_777_216) if wide else (SMALL, 5_324_800)
    return replace(
        distilled,
        name=f"{distilled.name}-base",
        config=lambda: generator_config(distilled.repo, sample_size, sizes, wide, distilled=False),
        sources=(published, *others),
        aliases=tuple(f"{alias}-base" for alias in distilled.aliases),
    )


def _packaged_config(name: str) -> dict[str, Any]:
    path = packaged_folder(name) / "model_config.json"
    if not path.is_file():
        raise ModelNotFoundError(f"this installation lacks the model {name}: there is no {path}")
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def packaged_folder(name: str) -> Path:
    """Return the folder of a model that is part of the package."""
    return Path(__file__).parent.parent / "models" / name


_MUSIC = _distilled(
    "small-music",
    _published("small-music", "0fef1392cd842149a2b6d445e181c97608faac06", _SMALL_BYTES),
    _mirror("small-music"),
    _npz("dit_sm-music_f16.npz", *_same_npz("s"), "t5gemma_f16.npz"),
    aliases=("sm-music",),
)
_SFX = _distilled(
    "small-sfx",
    _published("small-sfx", "ae12755283df9d62ca39a9b050a39a0b607b8c20", _SMALL_BYTES),
    _mirror("small-sfx"),
    _npz("dit_sm-sfx_f16.npz", *_same_npz("s"), "t5gemma_f16.npz"),
    aliases=("sm-sfx",),
)
_MEDIUM = _distilled(
    "medium",
    _published("medium", "27b5a21b791b1b033d193a9e1e3ce78493f102f9", _MEDIUM_BYTES),
    _mirror("medium"),
    _npz("dit_medium_f16.npz", *_same_npz("l"), "t5gemma_f16.npz"),
    wide=True,
)
_MUSIC_BASE = _base(
    _MUSIC,
    _published("small-music-base", "eab5ceee5ad9c1ed38800aff30a8e49d1161c539", _SMALL_BYTES),
    _mirror("small-music-base"),
)
_SFX_BASE = _base(
    _SFX,
    _published("small-sfx-base", "cc5ddb990e30daa68336ac61c140c37c7033ab7c", _SMALL_BYTES),
    _mirror("small-sfx-base"),
)
_MEDIUM_BASE = _base(
    _MEDIUM,
    _published("medium-base", "b32993f73c3bdc3864043a72d8032606bba737c8", _MEDIUM_BYTES),
    _mirror("medium-base"),
)
_MINI = ModelEntry(
    name="mini",
    kind="generator",
    config=lambda: _packaged_config("mini"),
    licenses=(APACHE,),
    default_seconds=4.0,
    max_seconds=5.8,
    notes="part of soundloom; trained on its synthetic dataset",
)
_LARGE = ModelEntry(
    name="large",
    kind="generator",
    config=lambda: generator_config(_repo("large"), 16_777_216, LARGE_ESTIMATE, wide_autoencoder=True, distilled=True),
    autoencoder="same-l",
    max_seconds=380.0,
    notes="its weights are not public; sizes are estimated from the announced number of parameters",
    alternative="medium is the largest available model",
    public=False,
)

CATALOGUE: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _MINI,
        _MUSIC,
        _SFX,
        _MEDIUM,
        _MUSIC_BASE,
        _SFX_BASE,
        _MEDIUM_BASE,
        _autoencoder("same-s", "fbeb3dcf53a326e5682f38e22e7f740202d44232", 433_007_588, wide=False),
        _autoencoder("same-l", "41acf79dd242877d6499a1108ca5dba5d5eecfc5", 3_408_566_892, wide=True),
        _LARGE,
        *MUSIC,
    )
}


def find_entry(name: str) -> ModelEntry | None:
    """Return the entry with a name or alias, ignoring case."""
    wanted = name.lower()
    for entry in CATALOGUE.values():
        if wanted == entry.name or wanted in entry.aliases:
            return entry
    return None


def require_entry(name: str) -> ModelEntry:
    """Return the available entry with a name or alias. Raises ModelNotFoundError with suggestions."""
    entry = find_entry(name)
    if entry is None:
        names = [key for known in CATALOGUE.values() for key in (known.name, *known.aliases)]
        close = difflib.get_close_matches(name.lower(), names, 3)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        listed = ", ".join(key for key, known in CATALOGUE.items() if known.public)
        raise ModelNotFoundError(f"no model is named {name!r}", f"{guess}models: {listed}; or a folder or file")
    if not entry.public:
        raise ModelNotFoundError(f"{entry.name} is not available: {entry.notes}", entry.alternative)
    return entry


def published_config(name: str) -> dict[str, Any]:
    """Return the `model_config.json` of a named model."""
    entry = find_entry(name)
    return (entry or require_entry(name)).config()
