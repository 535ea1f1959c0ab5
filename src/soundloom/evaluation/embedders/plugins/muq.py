"""MuQ: windows of 10 s at 24 kHz to 1024 dimensions, the mean over time of the last hidden layer.

Needs muq 0.1.0 (pip install muq), which downloads its weights from the Hugging Face hub; they are for non-commercial
use. The network runs in float32.
"""

from __future__ import annotations

from typing import Any


def open_embedder() -> dict[str, Any]:
    """Return the embedder; see `worker`."""
    import torch
    from muq import MuQ

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = MuQ.from_pretrained("OpenMuQ/MuQ-large-msd-iter").eval().to(device)

    def embed(windows: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(windows).to(device)).last_hidden_state.mean(1).cpu().numpy()

    return {
        "rate": 24000,
        "window": 240000,
        "dimensions": 1024,
        "license": "CC BY-NC 4.0; Tencent",
        "batch": 4,
        "version": "OpenMuQ/MuQ-large-msd-iter, mean of the last layer",
        "module": network,
        "embed": embed,
    }
