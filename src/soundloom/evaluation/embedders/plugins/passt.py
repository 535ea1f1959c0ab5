"""PaSST: windows of 10 s at 32 kHz to 768 dimensions, and logits of the 527 classes of AudioSet.

Needs hear21passt 0.0.26 (pip install hear21passt), which downloads its weights from GitHub at first use.
"""

from __future__ import annotations

from typing import Any

CLASSES = 527


def open_embedder() -> dict[str, Any]:
    """Return the embedder; see `worker`."""
    import torch
    from hear21passt.base import get_basic_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = get_basic_model(mode="all").eval().to(device)  # logits and embedding side by side

    def run(windows: Any) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(windows).to(device)).cpu().numpy()

    return {
        "rate": 32000,
        "window": 320000,
        "dimensions": 768,
        "license": "Apache-2.0; Johannes Kepler University Linz",
        "labels": [f"AudioSet class {number}" for number in range(CLASSES)],
        "batch": 4,
        "version": "hear21passt passt_s_swa_p16_128_ap476",
        "module": network,
        "embed": lambda windows: run(windows)[:, CLASSES:],
        "classify": lambda windows: run(windows)[:, :CLASSES],
    }
