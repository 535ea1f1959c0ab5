from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from soundloom.audio.clip import Clip

GENERATED = {"mode": "generate", "model": "mini", "seed": 7, "request": {"prompt": "Regen 鐘"}}
EDITED = {**GENERATED, "mode": "inpaint", "source": {"name": "take.wav", "sha256": "0" * 64}}


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch) -> Path:
    """An empty folder for settings, and no network."""
    folder = tmp_path / "settings"
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(folder))
    for name in [name for name in os.environ if name.startswith("SOUNDLOOM_C2PA")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    return folder


@pytest.fixture
def pair(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Return a function that writes a certificate chain and its key, and returns their paths."""
    from soundloom.audio.c2pa.self_signed import make_self_signed

    def write(name: str, days: int = 30, start: datetime | None = None) -> tuple[Path, Path]:
        key, *chain = make_self_signed(days, start).split(b"-----BEGIN CERTIFICATE-----")
        files = tmp_path / f"{name}.crt", tmp_path / f"{name}.key"
        files[0].write_bytes(b"".join(b"-----BEGIN CERTIFICATE-----" + one for one in chain))
        files[1].write_bytes(key)
        return files

    return write


@pytest.fixture
def expired(pair) -> tuple[Path, Path]:
    return pair("expired", 30, datetime(2020, 1, 1, tzinfo=UTC))


def clip(record=GENERATED, seconds=0.2) -> Clip:
    wave = np.sin(np.arange(round(44100 * seconds)) / 9) / 2
    return Clip(np.stack([wave, -wave]).astype(np.float32), 44100, record)
