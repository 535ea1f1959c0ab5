import json

from soundloom.checkpoints.stable_audio.open import open_checkpoint


def test_show_prints_the_metadata(make, soundloom):
    make("generate", "a bell", "--seconds", 0.1, "--seed", 6, "-o", "bell.ogg")
    shown = soundloom("show", "bell.ogg")
    assert {"mode: generate", "seed: 6", "  prompt: a bell", "  steps: 1"} <= set(shown.out.splitlines())
    assert json.loads(soundloom("show", "bell.ogg", "--json").out)["request"]["seed"] == 6


def test_show_of_other_files(soundloom, source):
    assert "has no metadata of soundloom" in soundloom("show", source).err
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
