"""VGGish: windows of 0.975 s at 16 kHz to 128 dimensions, without PCA and quantization, with the last ReLU.

Needs torchvggish 0.2 (pip install torchvggish), which downloads its weights from GitHub at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def open_embedder() -> dict[str, Any]:
    """Return the embedder; see `worker`."""
    import torch
    from torchvggish import vggish, vggish_input

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = vggish(postprocess=False).eval().to(device)

    def embed(windows: Any) -> Any:
        examples = [vggish_input.waveform_to_examples(window, 16000) for window in np.asarray(windows, np.float64)]
        with torch.inference_mode():
            return network(torch.cat(examples).to(device)).cpu().numpy()

    return {
        "rate": 16000,
        "window": 15600,  # samples: 96 frames with a hop of 160, the last of 400
        "dimensions": 128,
        "license": "Apache-2.0; Google",
        "batch": 32,
        "version": "torchvggish, no PCA, last ReLU",
        "module": network,
        "embed": embed,
    }
