"""Find an embedder by its name."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from soundloom.errors import EngineError, RequestError, shown
from soundloom.evaluation.embedders.base import Embedder
from soundloom.evaluation.embedders.external import is_configured, load_external

EMBEDDERS = {
    "log-mel": "statistics of a log-mel spectrogram, without weights; always there",
    "aisfx": "a network for sound effects, 44.1 kHz",
    "musicnn": "a tagger of music with 50 tags of MagnaTagATune, 16 kHz",
    "musicnn-msd": "a tagger of music with 50 tags of the Million Song Dataset, 16 kHz",
    "clap-music-speech": "CLAP for music and speech, sound and text, 48 kHz",
    "clap-general": "CLAP for all sounds, sound and text, 48 kHz",
    "clap-htsat-unfused": "CLAP for all sounds, smaller, sound and text, 48 kHz",
    "clap-music": "CLAP for music, whose published conversion is reported to be broken; checked when it is loaded",
}
# Those that run in a Python environment of their own.
PLUGINS = {
    "vggish": "VGGish, 16 kHz, in a Python environment with torchvggish",
    "passt": "PaSST with logits of AudioSet, 32 kHz, in one with hear21passt",
    "audiobox-aesthetics": "four aesthetic marks, 16 kHz, in one with audiobox_aesthetics",
    "muq": "MuQ for music, 24 kHz, in one with muq",
}
EMBEDDERS |= PLUGINS


def load_embedder(name: str, device: str | None = None) -> Embedder:
    """Load an embedder; `device` is one of PyTorch's, for networks. A folder is taken for a CLAP model.

    Raises RequestError for an unknown name, EngineError when a package is missing, and ModelNotFoundError when weights
    are, or the environment of an external embedder.
    """
    check_name(name)
    if name == "log-mel":
        from soundloom.evaluation.embedders.projection import LogMelEmbedder

        return LogMelEmbedder()
    if name in PLUGINS or (name not in EMBEDDERS and is_configured(name)):
        return load_external(name)
    require_torch(name)
    if name == "aisfx":
        from soundloom.evaluation.embedders.aisfx import load_aisfx

        return load_aisfx(device)
    if name in ("musicnn", "musicnn-msd"):
        from soundloom.evaluation.embedders.musicnn import load_musicnn

        return load_musicnn(name, device)
    from soundloom.evaluation.embedders.clap import load_clap, load_clap_folder

    return load_clap_folder(Path(name), device) if name not in EMBEDDERS else load_clap(name, device)


def check_name(name: str) -> None:
    """Raise RequestError for what is neither the name of an embedder, also a configured one, nor a folder."""
    if name not in EMBEDDERS and not is_configured(name) and not Path(name).is_dir():
        close = difflib.get_close_matches(name, EMBEDDERS, 2)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        raise RequestError(f"there is no embedder '{shown(name)}'", f"{guess}embedders: {', '.join(EMBEDDERS)}")


def require_torch(name: str) -> None:
    """Raise EngineError without PyTorch."""
    if find_spec("torch") is None:
        raise EngineError(f"{name} needs PyTorch, which is not installed", "pip install 'soundloom[torch]'")
