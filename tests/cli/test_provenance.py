"""What saved files state about their origin: flags and settings."""

import mutagen
import pytest


def source_type(path):
    found = mutagen.File(path).tags.get("TXXX:DigitalSourceType")
    return str(found).rpartition("/")[2] if found else None


@pytest.fixture
def bell(make):
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.wav")
    return "bell.wav"


def test_generated_and_edited_files_disclose_it(make, soundloom, bell, source):
    assert source_type(bell) == "trainedAlgorithmicMedia"
    soundloom("trim", bell, "--end", 0.2, "-o", "short.wav")
    assert source_type("short.wav") == "trainedAlgorithmicMedia"
    make("vary", "short.wav", "a bell", "--seed", 1, "-o", "other.wav")
    assert source_type("other.wav") == "trainedAlgorithmicMedia"  # of a source that a model made completely
    make("inpaint", source, "a bell", "--region", "0.1,0.2", "--seed", 1, "-o", "edited.wav")
    assert source_type("edited.wav") == "compositeWithTrainedAlgorithmicMedia"


def test_recordings_that_pass_through_disclose_nothing(soundloom, source):
    soundloom("trim", source, "--end", 0.2, "-o", "short.wav")
    assert source_type("short.wav") is None


def test_no_disclosure_and_the_setting(make, soundloom, bell, tmp_path):
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "silent.wav", "--no-disclosure")
    soundloom("trim", bell, "--end", 0.2, "-o", "short.wav", "--no-disclosure")
    assert source_type("silent.wav") is source_type("short.wav") is None
    settings = tmp_path / ".settings" / "settings.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[provenance]\ndisclosure = false\n")
    soundloom("trim", bell, "--end", 0.2, "-o", "by-setting.wav")
    soundloom("trim", bell, "--end", 0.2, "-o", "by-flag.wav", "--disclosure")
    assert source_type("by-setting.wav") is None
    assert source_type("by-flag.wav") == "trainedAlgorithmicMedia"


def test_invalid_settings_stop_a_command_before_it_works(make, tmp_path):
    settings = tmp_path / ".settings" / "settings.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[provenance]\ndisclosure = 3\n")
    failed = make("generate", "a bell", "--seconds", 0.1, "-o", "bell.wav")
    assert failed.code == 1
    assert "disclosure must be true or false, found 3" in failed.err
