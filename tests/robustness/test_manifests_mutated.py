"""Signed files with damaged bytes: the audio is the one that was signed, or the manifest is not valid."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.audio.c2pa.verify import verify
from soundloom.audio.clip import Clip
from soundloom.errors import AudioError
from tests.robustness.mutators.media import count, damaged, generator

pytest.importorskip("c2pa")
SUFFIXES = ("wav", "flac", "mp3", "ogg")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """Return signed files with the hashes of their audio."""
    folder = tmp_path_factory.mktemp("signed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDLOOM_CONFIG", str(folder / "settings"))
        audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)
        clip = Clip(audio, 44100, {"mode": "generate", "model": "mini", "seed": 1})
        paths = [clip.save(folder / f"{suffix}.{suffix}", c2pa=True) for suffix in SUFFIXES]
    return [(path, audio_hash(path)) for path in paths]


def audio_hash(path):
    try:
        return Clip.load(path).sha256()
    except AudioError:
        return "unreadable"


@pytest.mark.parametrize("number", range(count(200)))
def test_damaged_files(number, signed, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path))
    rng = generator("manifest", number)
    original, sha256 = signed[number % len(signed)]
    path, beside = tmp_path / original.name, original.with_suffix(".c2pa")
    path.write_bytes(damaged(original.read_bytes(), rng))
    if beside.exists():
        path.with_suffix(".c2pa").write_bytes(beside.read_bytes())
    try:
        found = verify(path)
    except AudioError:
        return
    if found is not None and found.valid:
        assert audio_hash(path) == sha256


@pytest.mark.parametrize("number", range(count(100)))
def test_damaged_manifests_beside_a_file(number, signed, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path))
    original = signed[-1][0]
    path = tmp_path / original.name
    path.write_bytes(original.read_bytes())
    manifest = original.with_suffix(".c2pa").read_bytes()
    path.with_suffix(".c2pa").write_bytes(damaged(manifest, generator("beside", number)))
    try:
        found = verify(path)
    except AudioError:
        return
    assert found is not None
    assert not found.valid or found.signer == "soundloom self-signed (untrusted)"
