"""The MusicGen models that have names. Source: the file lists of facebook/musicgen-* and of the adapter's repositories.

No commits are pinned, since none were recorded; sizes are those of the recorded files.
"""

from __future__ import annotations

from typing import Any

from soundloom.config.entries import APACHE, NON_COMMERCIAL, Entry, RemoteFile, Source
from soundloom.config.musicgen import MusicGenConfig, published_musicgen
from soundloom.config.parse import to_dict

_LICENCES = (NON_COMMERCIAL, APACHE)  # the latter is that of t5-base
_CODEC = RemoteFile("compression_state_dict.bin", 236_001_935)
_T5 = Source(
    "published",
    "google-t5/t5-base",
    (RemoteFile("model.safetensors"), RemoteFile("config.json"), RemoteFile("spiece.model")),
)
_LARGE_STATE_BYTES = 6_514_108_999


def own_config(config: MusicGenConfig) -> dict[str, Any]:
    """The `model_config.json` of soundloom's own layout, which says what it is."""
    # An adapter whose sizes are the published ones would be left out with all its fields.
    instruct = {} if config.instruct is None else {"instruct": to_dict(config.instruct)}
    return {"model_type": config.model_type, **to_dict(config), **instruct}


def _music(size: str, state_bytes: int | None = None) -> Entry:
    repo = f"facebook/musicgen-{size}"
    codec = _CODEC if size == "large" else RemoteFile(_CODEC.path)
    published = Source("published", repo, (RemoteFile("state_dict.bin", state_bytes), codec), companions=(_T5,))
    whole = Source(
        "transformers", repo, (RemoteFile("model.safetensors"), RemoteFile("config.json"), RemoteFile("spiece.model"))
    )
    return Entry(
        name=f"musicgen-{size}",
        kind="music",
        config=lambda: own_config(published_musicgen(size)),
        # The larger ones come in shards, whose number was not recorded.
        sources=(published, whole) if size == "small" else (published,),
        licences=_LICENCES,
        default_steps=0,
        default_sampler="",
        default_guidance=3.0,
        default_seconds=10.0,
        max_seconds=30.0,
        notes="makes mono music at 32 kHz; longer than 30 s it continues what it made",
    )


_ADAPTER = Source(
    "published",
    "ldzhangyx/instruct-MusicGen",
    (RemoteFile("finetuned.ckpt", about=14_586_000_000),),
    companions=(_T5, Source("published", "facebook/musicgen-large", (_CODEC,))),
)
_BUNDLE = Source(
    "int4",
    "aufklarer/Instruct-MusicGen-MLX-4bit",
    (RemoteFile("model.safetensors"), RemoteFile("config.json"), _CODEC),
    companions=(_T5,),
)
_EDITOR = Entry(
    name="instruct-musicgen",
    kind="editor",
    config=lambda: own_config(published_musicgen("large", instruct=True)),
    sources=(_ADAPTER, _BUNDLE),
    licences=_LICENCES,
    default_steps=0,
    default_sampler="",
    default_guidance=3.0,
    default_seconds=0.0,
    notes='edits sounds by words: soundloom edit IN.wav "Only drums"; mono at 32 kHz, in windows of 5 s',
)
_MELODY = Entry(
    name="musicgen-melody",
    kind="music",
    config=lambda: own_config(published_musicgen("medium")),
    licences=_LICENCES,
    notes="soundloom does not run it: nothing here hears a melody, and its text comes in by another way",
    public=False,
    instead="musicgen-medium is its sibling without a melody",
)
MUSIC = (_music("small"), _music("medium"), _music("large", _LARGE_STATE_BYTES), _EDITOR, _MELODY)
