import json

import numpy as np
import pytest

from soundloom import Clip
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render


def test_show_prints_the_metadata(make, soundloom):
    make("generate", "a bell", "--seconds", 0.1, "--seed", 6, "-o", "bell.ogg")
    shown = soundloom("show", "bell.ogg")
    assert {"mode: generate", "seed: 6", "  prompt: a bell", "  steps: 1"} <= set(shown.out.splitlines())
    assert json.loads(soundloom("show", "bell.ogg", "--json").out)["request"]["seed"] == 6


def test_show_describes_files_of_other_programs(soundloom, source):
    done = soundloom("show", source)
    assert done.code == 0
    assert done.out.splitlines()[:4] == [
        "format: WAV, PCM_16",
        "length: 0.500 s (24000 samples)",
        "sample rate: 48000 Hz",
        "channels: 2",
    ]
    assert "metadata of soundloom: none" in done.out
    facts = json.loads(soundloom("show", source, "--json").out)
    expected = {"format": "WAV", "subtype": "PCM_16", "seconds": 0.5, "samples": 24000, "sample_rate": 48000}
    assert facts["audio"] == expected | {"channels": 2, "bytes": source.stat().st_size}


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_show_gives_the_exact_length_of_every_format(soundloom, source, suffix):
    Clip.load(source).save(f"a.{suffix}")
    assert json.loads(soundloom("show", f"a.{suffix}", "--json").out)["audio"]["samples"] == 24000


def test_show_gives_the_tags_of_other_programs(soundloom, source):
    import mutagen

    Clip.load(source).save("a.flac")
    file = mutagen.File("a.flac")
    file.clear()
    file.update({"title": "Ein Lied", "bpm": "120"})
    file.save()
    assert json.loads(soundloom("show", "a.flac", "--json").out)["audio"]["tags"] == {"title": "Ein Lied", "bpm": "120"}
    assert "  title: Ein Lied" in soundloom("show", "a.flac").out


def test_show_measures(soundloom):
    labels = Labels("drum loop", "house", bpm=124, material="acoustic")
    Clip(render(labels, 6.0, np.random.default_rng(0)), SAMPLE_RATE).save("a.wav")
    measured = json.loads(soundloom("show", "a.wav", "--measure", "--json").out)["measured"]
    assert measured["tempo"] == pytest.approx(124, rel=0.005)
    assert measured["key"] is None and measured["pitch"] is None
    assert len(measured["onsets"]) > 20
    lines = soundloom("show", "--measure", "a.wav").out.splitlines()
    assert any(line.startswith(("  tempo: 124.", "  tempo: 123.9")) for line in lines)
    assert "  key: unsure" in lines


def test_show_measures_silence(soundloom):
    Clip(np.zeros((1, 4410), np.float32), 44100).save("a.wav")
    done = soundloom("show", "--measure", "a.wav")
    assert {"  tempo: unsure", "  loudness: -inf LUFS", "  onsets: 0"} <= set(done.out.splitlines())
    assert json.loads(soundloom("show", "--measure", "a.wav", "--json").out)["measured"]["loudness"] is None


def test_show_of_files_that_are_no_audio(soundloom, tmp_path):
    (tmp_path / "text.wav").write_text("no audio at all")
    done = soundloom("show", "text.wav")
    assert (done.code, done.out) == (1, "")
    assert "text.wav cannot be read as audio" in done.err
    assert "there is no file" in soundloom("show", "nothing.wav").err


def test_doctor_reports_and_generates_a_clip(soundloom, tiny_model_folder):
    done = soundloom("doctor", "--model", tiny_model_folder, "--json")
    facts = json.loads(done.out)
    assert done.code == 0
    assert facts["versions"]["soundloom"]
    assert "available" in facts["engines"].values()
    assert {"attention", "device", "transformer", "weights", "generated"} <= set(facts["check"])
    assert open_checkpoint(tiny_model_folder).fingerprint in facts["check"]["weights"]


def test_doctor_fails_with_its_check_and_skips_it_without_a_model(soundloom, tiny_model_folder):
    failed = soundloom("doctor", "--model", tiny_model_folder, "--device", "abacus")
    assert failed.code == 1
    assert "no device 'abacus'" in failed.out
    left_out = soundloom("doctor", "--model", "medium")
    assert (left_out.code, "medium is not installed" in left_out.out) == (0, True)
