from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def tone():
    """A file of one second, as bytes."""
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(np.arange(44_100) * 0.05), 44_100, format="WAV", subtype="PCM_16")
    return out.getvalue()
