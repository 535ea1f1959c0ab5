"""What saved files state about their origin: flags and settings."""

import json
import sys
from pathlib import Path

import mutagen
import numpy as np
import pytest

from soundloom.audio.clip import Clip


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


@pytest.fixture
def verified(soundloom):
    pytest.importorskip("c2pa")

    def verify(path, *flags):
        shown = soundloom("show", path, "--json", *flags)
        return shown.code, json.loads(shown.out)["c2pa"]

    return verify


def change(path):
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)


def test_files_are_not_signed_by_default(verified, bell, tmp_path):
    assert verified(bell) == (0, None)
    assert not (tmp_path / ".settings" / "c2pa").exists()


def test_signed_files_are_shown_with_signer_and_trust(make, soundloom, verified):
    done = make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.wav", "--c2pa", "--json")
    assert json.loads(done.out)["signer"] == "soundloom self-signed (untrusted)"
    assert json.loads(done.out)["clips"][0]["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    code, found = verified("bell.wav")
    assert (code, found["valid"], found["trusted"], found["tampered"]) == (0, True, False, False)
    lines = soundloom("show", "bell.wav").out.splitlines()
    assert {"c2pa:", "  valid: yes", "  trusted: no", "  tampered: no"} <= set(lines)
    assert {"  signer: soundloom self-signed (untrusted)", "  actions: c2pa.created", "seed: 6"} <= set(lines)
    assert verified("bell.wav", "--c2pa-trust", ".settings/c2pa/self-signed.pem")[1]["trusted"]


def test_a_changed_file_is_shown_as_changed(make, soundloom, verified):
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.wav", "--c2pa")
    change("bell.wav")
    code, found = verified("bell.wav")
    assert (code, found["valid"], found["tampered"]) == (1, False, True)
    shown = soundloom("show", "bell.wav")
    assert shown.code == 1
    assert "was changed after soundloom self-signed (untrusted) signed it" in shown.out


def test_sources_of_commands_become_ingredients(make, soundloom, verified, source):
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.wav", "--c2pa")
    soundloom("trim", "bell.wav", "--end", 0.2, "-o", "short.wav", "--c2pa")
    make("inpaint", "short.wav", "a bell", "--region", "0.1,0.15", "--seed", 1, "-o", "edit.flac", "--c2pa")
    _, short = verified("short.wav")
    assert short["actions"] == ["c2pa.opened", "c2pa.trimmed"]
    assert short["ingredients"] == [{"title": "bell.wav", "valid": True}]
    _, edit = verified("edit.flac")
    assert edit["actions"] == ["c2pa.opened", "c2pa.edited"]
    assert edit["ingredients"] == [{"title": "short.wav", "valid": True}]
    made_from = "  made from: short.wav, with a valid manifest"
    assert made_from in soundloom("show", "edit.flac").out.splitlines()
    make("vary", source, "a bell", "--seed", 1, "-o", source, "--overwrite", "--c2pa")
    assert verified(source)[1]["ingredients"] == [{"title": "source.wav", "valid": None}]


def test_the_setting_signs_every_file(make, soundloom, verified, tmp_path):
    settings = tmp_path / ".settings" / "settings.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[provenance]\nc2pa = true\n")
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.ogg")
    assert verified("bell.ogg")[1]["manifest"] == "bell.c2pa"
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "plain.wav", "--no-c2pa")
    assert verified("plain.wav")[1] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--c2pa", "--c2pa-cert", "no.pem", "--c2pa-key", "no.pem"], "the C2PA certificate no.pem cannot be read"),
        (["--c2pa", "--c2pa-cert", "no.pem"], "a C2PA certificate was given without its key"),
        (["--c2pa", "--c2pa-cert", "", "--c2pa-key", ""], "the C2PA certificate . cannot be read"),
        (["--c2pa", "--c2pa-cert", "source.wav", "--c2pa-key", "source.wav"], "is not a certificate in PEM"),
        (["--c2pa-key", "key.pem"], "--c2pa-key is for --c2pa, which is not given"),
    ],
)
@pytest.mark.parametrize("command", [["generate", "rain"], ["trim", "source.wav", "--end", 0.1]])
def test_unusable_certificates_stop_a_command_before_it_works(soundloom, source, flags, message, command):
    pytest.importorskip("c2pa")
    failed = soundloom(*command, "-o", "out.wav", *flags)
    assert (failed.code, message in failed.err) == (2, True), failed.err
    assert not Path("out.wav").exists()


def test_show_without_the_package(make, soundloom, monkeypatch):
    pytest.importorskip("c2pa")
    make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "bell.wav", "--c2pa")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    shown = soundloom("show", "bell.wav")
    assert shown.code == 0
    assert "  The file has a C2PA manifest, which is not verified: install 'soundloom[provenance]'." in shown.out
    failed = make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "-o", "other.wav", "--c2pa")
    assert failed.code == 2
    assert "hint: pip install 'soundloom[provenance]'" in failed.err
    assert json.loads(soundloom("show", "bell.wav", "--json").out)["c2pa"]["valid"] is None


def test_manifests_beside_rejected_files_move_along(make, verified):
    flags = ("--count", 3, "--pick", 1, "--name", "bell_{n}.ogg")
    done = make("generate", "a bell", "--seconds", 0.3, "--seed", 6, "--c2pa", "--json", *flags)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    for file in [*found["files"], *found["rejected"]]:
        assert Path(file).with_suffix(".c2pa").is_file()
        assert verified(file)[1]["valid"]
    assert len(list(Path().rglob("*.c2pa"))) == 3


def test_a_missing_file_of_roots_is_an_error_for_every_file(soundloom, tmp_path):
    Clip(np.zeros((1, 4410), np.float32), 44100).save(tmp_path / "plain.wav")
    failed = soundloom("show", "plain.wav", "--c2pa-trust", "nope.pem")
    assert failed.code == 2 and "there is no file nope.pem" in failed.err
