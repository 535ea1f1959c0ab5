import numpy as np
import soundfile

from soundloom.cli.main import main


def test_mini_warns_of_audio_that_it_reconstructs_badly(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = np.arange(2 * 44100) / 44100
    soundfile.write("sweep.wav", 0.8 * np.sin(2 * np.pi * (50 * times + 3000 * times**2)), 44100)
    soundfile.write("noise.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (2 * 44100, 2)), 44100)
    for name, is_said in (("sweep", True), ("noise", False)):
        assert main(["encode", f"{name}.wav"]) == 0
        assert (
            "mini does not reconstruct this sound well: decoded, it differs by" in capsys.readouterr().err
        ) == is_said
