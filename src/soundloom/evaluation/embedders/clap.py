"""Load CLAP, an embedder of sounds and texts. See `networks.clap` for its front end and source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soundloom.checkpoints.hashes import sha256_of
from soundloom.checkpoints.hub.cache import find_snapshot
from soundloom.errors import CheckpointError, ModelNotFoundError
from soundloom.evaluation.embedders.base import EmbedderInfo, TextEmbedder
from soundloom.evaluation.embedders.sanity import require_sane
from soundloom.evaluation.embedders.weights import HUB, HubWeights, embedder_hash, fetch_hint

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
BATCH = 4  # windows; more take memory, but no less time


def load_clap(name: str, device: str | None = None) -> TextEmbedder:
    """Load a checkpoint from the hub's cache, and check that it tells sounds apart.

    Raises ModelNotFoundError if it was not fetched, EngineError without transformers, CheckpointError if it is unfit.
    """
    weights = HUB[name]
    folder = find_snapshot(weights.source, weights.source.revision, offline=True)
    if folder is None:
        raise ModelNotFoundError(f"the weights of {name} are not on this machine", fetch_hint(name))
    embedder = open_embedder(name, folder, weights, device)
    require_sane(embedder)
    return embedder


def load_clap_folder(folder: Path, device: str | None = None) -> TextEmbedder:
    """Load a folder in the layout of transformers; the embedder is named after it. Raises as `load_clap`."""
    embedder = open_embedder(folder.resolve().name, folder, device=device)
    require_sane(embedder)
    return embedder


def open_embedder(
    name: str, folder: Path, weights: HubWeights | None = None, device: str | None = None
) -> TextEmbedder:
    """Open a folder in the layout of transformers, without any check of what it embeds."""
    from soundloom.evaluation.embedders.networks.clap import ClapEmbedder, ClapNetwork, open_clap

    model, extractor, tokenizer = open_clap(folder)
    info = EmbedderInfo(
        name,
        int(extractor.sampling_rate),
        int(extractor.nb_max_samples),
        int(model.config.projection_dim),
        embedder_hash(_weights_hash(folder, weights), _constants(extractor)),
        weights.license if weights else "",
        padding="repeat",
        batch=BATCH,
    )
    return ClapEmbedder(info, ClapNetwork(model, extractor), tokenizer, device)


def _weights_hash(folder: Path, weights: HubWeights | None) -> str:
    """Return the pinned sha256, which the download was checked against, or that of the file."""
    pinned = [file.sha256 for file in weights.source.files if file.path in WEIGHTS] if weights else []
    if pinned and pinned[0]:
        return pinned[0]
    files = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not files:
        raise CheckpointError(f"{folder} holds neither {' nor '.join(WEIGHTS)}")
    return sha256_of(files[0])


def _constants(extractor: Any) -> list[Any]:
    """Return what determines features, beyond the code of the front end."""
    names = ("sampling_rate", "nb_max_samples", "fft_window_size", "hop_length", "feature_size")
    return [getattr(extractor, name) for name in (*names, "frequency_min", "frequency_max")]
