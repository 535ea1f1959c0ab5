"""Convert between WAV files and ComfyUI's AUDIO: a tensor (batch, channels, samples) of float32, and a sample rate."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import torch

FLOAT = 3  # format of WAV files
COMMENTS, LAST = 4, 0x80  # in FLAC: the type of the block of comments, and the mark of the last block
MAX_BLOCK = 2**24 - 1  # bytes


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


def with_comments(flac: bytes, comments: Mapping[str, str]) -> bytes:
    """Return a FLAC file with further comments; unchanged if they do not fit. Raises ValueError for another file."""
    if flac[:4] != b"fLaC":
        raise ValueError("the server sent no FLAC file")
    position = 4
    while True:
        kind, size = flac[position], int.from_bytes(flac[position + 1 : position + 4], "big")
        body = flac[position + 4 : position + 4 + size]
        if kind & ~LAST == COMMENTS:
            break
        if kind & LAST:
            return flac
        position += 4 + size
    count_at = 4 + int.from_bytes(body[:4], "little")  # after the name of the encoder
    count = int.from_bytes(body[count_at : count_at + 4], "little") + len(comments)
    texts = [f"{name}={value}".encode() for name, value in comments.items()]
    added = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    new = body[:count_at] + count.to_bytes(4, "little") + body[count_at + 4 :] + added
    if len(new) > MAX_BLOCK:
        return flac
    return flac[:position] + bytes([kind]) + len(new).to_bytes(3, "big") + new + flac[position + 4 + size :]
