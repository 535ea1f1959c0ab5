"""Load aisfx, an embedder of sound effects. See `networks.aisfx` for the network and its source."""

from __future__ import annotations

from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.evaluation.embedders.base import Embedder, EmbedderInfo
from soundloom.evaluation.embedders.weights import PACKAGED, embedder_hash, require_weights


def load_aisfx(device: str | None = None) -> Embedder:
    """Load the embedder: 2.3 s at 44.1 kHz to 512 dimensions."""
    from soundloom.evaluation.embedders.networks import aisfx
    from soundloom.evaluation.embedders.networks.run import NetworkEmbedder, load_weights

    weights = PACKAGED["aisfx"]
    tensors = read_safetensors(require_weights(weights))
    network = aisfx.AisfxNetwork()
    load_weights(network, tensors, weights.name)
    constants = [aisfx.RATE, aisfx.FRAME, aisfx.HOP, aisfx.FRAMES, aisfx.BANDS, aisfx.GAIN, aisfx.LARGEST]
    info = EmbedderInfo(
        weights.name,
        aisfx.RATE,
        aisfx.WINDOW,
        aisfx.DIMENSIONS,
        embedder_hash(weights.sha256, constants),
        weights.license,
    )
    return NetworkEmbedder(info, network, device)
