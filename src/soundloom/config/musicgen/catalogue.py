"""The named MusicGen models. Source: the file lists of facebook/musicgen-* and of the adapter's repositories.

Commits of the repositories of the adapter and its bundle are not known, so they are not pinned.
"""

from __future__ import annotations

from typing import Any

from soundloom.config import published_hashes as hashes
from soundloom.config.entries import APACHE, NON_COMMERCIAL, ModelEntry, RemoteFile, Source
from soundloom.config.musicgen.model import MusicGenConfig, published_musicgen
from soundloom.config.parse import to_dict

_LICENSES = (NON_COMMERCIAL, APACHE)  # the latter for t5-base
_CODEC = RemoteFile("compression_state_dict.bin", 236_001_935)
_SHARED_CODEC = RemoteFile(_CODEC.path, _CODEC.size, hashes.MUSICGEN_CODEC)  # of small and medium
_REVISIONS = {
    "small": "4c8334b02c6ec4e8664a91979669a501ec497792",
    "medium": "d3bd7b00761b78ad7a8a05145ee31e7832e9916c",
    "large": "15ccdc92099879e47b6da12c350cdb71d4eab3ca",
}
_STATES = {
    "small": RemoteFile("state_dict.bin", 840_843_863, hashes.MUSICGEN_SMALL),
    "medium": RemoteFile("state_dict.bin", 3_677_668_599),
    "large": RemoteFile("state_dict.bin", 6_514_108_999),
}
_T5 = Source(
    "published",
    "google-t5/t5-base",
    (
        RemoteFile("model.safetensors", 891_646_390, hashes.T5),
        RemoteFile("config.json", sha256=hashes.T5_CONFIG),
        RemoteFile("spiece.model", sha256=hashes.T5_TOKENIZER),
    ),
    revision="a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1",
)


def own_config(config: MusicGenConfig) -> dict[str, Any]:
    """Return the `model_config.json` of soundloom's own layout."""
    # `to_dict` omits all fields of an adapter with the published sizes, but its presence matters.
    instruct = {} if config.instruct is None else {"instruct": to_dict(config.instruct)}
    return {"model_type": config.model_type, **to_dict(config), **instruct}


def _music(size: str) -> ModelEntry:
    repo, revision = f"facebook/musicgen-{size}", _REVISIONS[size]
    codec = _CODEC if size == "large" else _SHARED_CODEC
    published = Source("published", repo, (_STATES[size], codec), revision, auxiliary=(_T5,))
    files = RemoteFile("model.safetensors"), RemoteFile("config.json"), RemoteFile("spiece.model")
    transformers = Source("transformers", repo, files, revision)
    return ModelEntry(
        name=f"musicgen-{size}",
        kind="music",
        config=lambda: own_config(published_musicgen(size)),
        # The larger ones have shards, whose number is not known.
        sources=(published, transformers) if size == "small" else (published,),
        licenses=_LICENSES,
        max_seconds=30.0,
        notes="mono music at 32 kHz; generates windows of 30 s, each continuing the last",
    )


_ADAPTER = Source(
    "published",
    "ldzhangyx/instruct-MusicGen",
    (RemoteFile("finetuned.ckpt", approximate_size=14_586_000_000),),
    auxiliary=(_T5, Source("published", "facebook/musicgen-large", (_CODEC,), _REVISIONS["large"])),
)
_BUNDLE = Source(
    "int4",
    "aufklarer/Instruct-MusicGen-MLX-4bit",
    (RemoteFile("model.safetensors"), RemoteFile("config.json"), _CODEC),
    auxiliary=(_T5,),
)
_EDITOR = ModelEntry(
    name="instruct-musicgen",
    kind="editor",
    config=lambda: own_config(published_musicgen("large", instruct=True)),
    sources=(_ADAPTER, _BUNDLE),
    licenses=_LICENSES,
    notes='edits audio by instruction: soundloom edit IN.wav "Only drums"; mono at 32 kHz, in windows of 5 s',
)
_MELODY = ModelEntry(
    name="musicgen-melody",
    kind="music",
    config=lambda: own_config(published_musicgen("medium")),
    licenses=_LICENSES,
    notes="soundloom does not support melody conditioning",
    public=False,
    alternative="use musicgen-medium, which has no melody conditioning",
)
MUSIC = (_music("small"), _music("medium"), _music("large"), _EDITOR, _MELODY)
