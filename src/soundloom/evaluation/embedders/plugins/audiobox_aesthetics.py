"""Audiobox Aesthetics: windows of 10 s at 16 kHz to 4 marks of about 1 to 10.

The marks are content enjoyment, content usefulness, production complexity and production quality. At 16 kHz nothing
above 8 kHz is heard. Needs audiobox_aesthetics 0.0.4, which downloads its weights from the Hugging Face hub.
"""

from __future__ import annotations

from typing import Any

AXES = ("CE", "CU", "PC", "PQ")


def open_embedder() -> dict[str, Any]:
    """Return the embedder; see `worker`."""
    import torch
    from audiobox_aesthetics.infer import initialize_predictor

    predictor = initialize_predictor()

    def embed(windows: Any) -> Any:
        rows = predictor.forward([{"path": torch.from_numpy(window)[None], "sample_rate": 16000} for window in windows])
        return [[row[axis] for axis in AXES] for row in rows]

    return {
        "rate": 16000,
        "window": 160000,
        "dimensions": len(AXES),
        "license": "CC BY 4.0; Meta",
        "batch": 4,
        "version": f"audiobox_aesthetics, axes {' '.join(AXES)}",
        "module": predictor.model,
        "embed": embed,
    }
