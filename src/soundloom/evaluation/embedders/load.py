"""Find an embedder by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from soundloom.errors import RequestError, shown
from soundloom.evaluation.embedders.base import Embedder

EMBEDDERS = {
    "log-mel": "statistics of a log-mel spectrogram, without weights; always there",
}


def load_embedder(name: str, device: str | None = None) -> Embedder:
    """Load an embedder; `device` is one of PyTorch's, for networks.

    Raises RequestError for an unknown name, EngineError when a package is missing, and ModelNotFoundError when weights
    are.
    """
    if name not in EMBEDDERS:
        close = difflib.get_close_matches(name, EMBEDDERS, 2)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        raise RequestError(f"there is no embedder '{shown(name)}'", f"{guess}embedders: {', '.join(EMBEDDERS)}")
    return _loader(name)(device)


def _loader(name: str) -> Callable[[str | None], Embedder]:
    return _load_log_mel


def _load_log_mel(device: str | None) -> Embedder:
    from soundloom.evaluation.embedders.projection import LogMelEmbedder

    return LogMelEmbedder()
