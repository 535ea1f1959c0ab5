"""Convert between WAV files and ComfyUI's AUDIO: a tensor (batch, channels, samples) of float32, and a sample rate."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import torch

FLOAT = 3  # format of WAV files


def to_wav(waveform: torch.Tensor, rate: int) -> bytes:
    """Return a WAV file of float samples from a tensor (channels, samples)."""
    channels, samples = waveform.shape
    data = waveform.detach().cpu().to(torch.float32).T.contiguous().numpy().astype("<f4").tobytes()
    fmt = struct.pack("<HHIIHHH", FLOAT, channels, rate, rate * channels * 4, channels * 4, 32, 0)
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body
        for name, body in ((b"fmt ", fmt), (b"fact", struct.pack("<I", samples)), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def from_wav(file: bytes) -> tuple[torch.Tensor, int]:
    """Return the samples (channels, samples) of a WAV file of float samples, and the sample rate. Raises ValueError."""
    if file[:4] != b"RIFF" or file[8:12] != b"WAVE":
        raise ValueError("the server sent no WAV file")
    position, channels, rate = 12, 0, 0
    while position + 8 <= len(file):
        name, size = struct.unpack_from("<4sI", file, position)
        position += 8
        if name == b"fmt ":
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", file, position)
            if (kind, bits) not in ((FLOAT, 32), (0xFFFE, 32)):
                raise ValueError(f"the server sent samples of format {kind} with {bits} bits instead of float")
        elif name == b"data" and channels:
            data = bytearray(file[position : position + size])
            return torch.frombuffer(data, dtype=torch.float32).reshape(-1, channels).T.contiguous(), rate
        position += size + size % 2
    raise ValueError("the server sent a WAV file without samples")


def to_audio(files: Sequence[bytes]) -> dict[str, Any]:
    """Return files of equal length as one AUDIO."""
    sounds = [from_wav(file) for file in files]
    return {"waveform": torch.stack([sound for sound, _ in sounds]), "sample_rate": sounds[0][1]}
