import numpy as np
import soundfile

from soundloom.cli.main import main


def test_the_model_inside_the_package_says_what_it_cannot_carry(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = np.arange(2 * 44100) / 44100
    soundfile.write("sweep.wav", 0.8 * np.sin(2 * np.pi * (50 * times + 3000 * times**2)), 44100)
    soundfile.write("tone.wav", 0.5 * np.sin(2 * np.pi * 430.66 * times), 44100)  # a whole number of waves a latent
    for name, is_said in (("sweep", True), ("tone", False)):
        assert main(["encode", f"{name}.wav"]) == 0
        assert ("mini does not carry these sounds well: decoded, they differ by" in capsys.readouterr().err) == is_said
