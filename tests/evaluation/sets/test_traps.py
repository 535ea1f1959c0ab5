"""`soundloom eval set` says what makes its distances misleading."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from soundloom.cli.main import main


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Sounds of 1 s, and a reference of 2 s with half the band, that shares a sound."""
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path / "data"))
    for folder, seconds, share in (("made", 1, 1.0), ("real", 2, 0.5)):
        (tmp_path / folder).mkdir()
        for number in range(6):
            rng = np.random.Generator(np.random.Philox([seconds, number]))
            spectrum = np.fft.rfft(rng.uniform(-0.3, 0.3, 16000 * seconds))
            spectrum[round(share * len(spectrum)) :] = 0
            audio = np.fft.irfft(spectrum).astype(np.float32)
            soundfile.write(tmp_path / folder / f"{number}.wav", audio, 16000, subtype="FLOAT")
    (tmp_path / "real/shared.wav").write_bytes((tmp_path / "made/3.wav").read_bytes())
    (tmp_path / "real/again.wav").write_bytes((tmp_path / "made/3.wav").read_bytes())
    return tmp_path


@pytest.mark.parametrize("stored", [False, True])
def test_traps_are_noted(folders, capsys, stored):
    made, real = str(folders / "made"), str(folders / "real")
    recipe = ["--embedder", "log-mel", "--allow-small", "--json", "-q"]
    if stored:
        assert main(["eval", "set", real, "--save-reference", "real", *recipe]) == 0
        capsys.readouterr()
    assert main(["eval", "set", made, "--reference", "real" if stored else real, *recipe]) == 0
    report = json.loads(capsys.readouterr().out)
    notes = "\n".join(report["notes"])
    assert "1 of 6 sounds are also in the reference, such as 3.wav" in notes
    assert "bandwidth is 8.0 kHz, that of the reference 4.0 kHz" in notes
    assert "sounds last 1.00 s and those of the reference 2.00 s" in notes
    assert "1 sounds of the reference are copies of others" in notes
    assert report["data"]["checks"]["copies"] == 0
    (described,) = report["recipes"].values()
    assert described["reference"]["checks"]["copies"] == 1
