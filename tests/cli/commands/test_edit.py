"""`soundloom edit`, and `soundloom generate` with a MusicGen model."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.metadata import read_record
from soundloom.config.musicgen.model import published_musicgen
from soundloom.engines.torch.musicgen.engine import TorchMusicEngine
from soundloom.errors import AudioError
from soundloom.pipeline.musicgen import executor
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from tests.cli.conftest import files_in


@pytest.fixture(scope="session")
def editor(tmp_path_factory):
    config = tiny_musicgen(published_musicgen("large", instruct=True))
    return make_musicgen(config, tmp_path_factory.mktemp("models") / "editor")


@pytest.fixture(scope="session")
def composer(tmp_path_factory):
    config = tiny_musicgen(published_musicgen("small"))
    return make_musicgen(config, tmp_path_factory.mktemp("models") / "composer")


def test_an_edit_preserves_the_format_and_prints_the_instruction(soundloom, editor, source, tmp_path):
    made = soundloom("edit", source, "Remove the piano", "-o", "out.wav", "--model", editor, "--seed", 7)
    assert (made.code, made.out) == (0, "out.wav\n")
    assert "'Remove the piano' is understood as 'Music piece. Instruct: No Piano.'" in made.err
    assert "seed 7 · temperature 1, top-k 100, guidance 3" in made.err
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (48000, 2, 24000, "PCM_16")
    record = read_record("out.wav")
    assert (record["mode"], record["understood"]) == ("edit", "Music piece. Instruct: No Piano.")
    assert "CC-BY-NC" in record["license"]
    assert files_in(tmp_path) == ["out.wav", "source.wav"]


def test_too_many_channels_fail_before_generation(soundloom, editor, tmp_path):
    surround = tmp_path / "surround.wav"
    soundfile.write(surround, np.random.default_rng(3).uniform(-0.4, 0.4, (9000, 6)), 22050)
    refused = soundloom("edit", surround, "Only drums", "-o", "x.mp3", "--model", editor, "--engine", "never asked")
    assert "MP3 files have 1 to 2 channels, not 6" in refused.err
    assert files_in(tmp_path) == ["surround.wav"]


def test_several_instructions_and_seeds_give_several_clips(soundloom, editor, source):
    arguments = ("--model", editor, "--seed", 3, "--count", 2, "--temperature", 0.8, "--top-p", 0.9, "--json")
    made = soundloom("edit", source, "Only drums", "-p", "No bass", "-o", "x.flac", *arguments)
    report = json.loads(made.out)
    assert report["files"] == [f"x_{index}.flac" for index in range(4)]
    assert [(clip["seed"], clip["understood"].split()[-2]) for clip in report["clips"]] == [
        (3, "Only"),
        (4, "Only"),
        (5, "No"),
        (6, "No"),
    ]
    assert report["clips"][0]["request"]["top_p"] == 0.9
    assert list(report["stages"]) == ["text", "encode", "tokens", "decode"]


def test_several_files_are_edited_like_single_files(soundloom, editor, source, tmp_path):
    other = tmp_path / "other.flac"
    soundfile.write(other, np.random.default_rng(3).uniform(-0.4, 0.4, 9000), 22050)
    flags = ("--model", editor, "--seed", 7)
    made = soundloom("edit", source, other, "Only drums", "No bass", "-o", "edited/", *flags)
    names = ("source-edit_0.wav", "source-edit_1.wav", "other-edit_0.flac", "other-edit_1.flac")
    assert made.out.splitlines() == [f"edited/{name}" for name in names]
    info = soundfile.info("edited/other-edit_1.flac")
    assert (info.samplerate, info.channels, info.frames) == (22050, 1, 9000)
    assert soundloom("edit", other, "No bass", "-o", "alone.flac", "--model", editor, "--seed", 8).code == 0
    together, alone = (soundfile.read(name)[0] for name in ("edited/other-edit_1.flac", "alone.flac"))
    assert np.abs(together - alone).max() < 1e-3
    assert "would be written to one file" in soundloom("edit", source, other, "No bass", "-o", "x.wav", *flags).err


@pytest.mark.parametrize("engine", ["torch", "mlx"])
@pytest.mark.parametrize(("rate", "channels", "seconds"), [(22050, 1, 37), (96000, 2, 5.2), (44100, 1, 0.3)])
def test_edits_preserve_the_exact_length(soundloom, editor, tmp_path, engine, rate, channels, seconds):
    pytest.importorskip(engine)
    if engine == "mlx" and seconds > 10:
        pytest.skip("slow on a CPU; the windows are those of the other engine")
    samples = round(seconds * rate) + 1
    sound = np.random.default_rng(0).uniform(-0.4, 0.4, (samples, channels))
    soundfile.write("in.wav", sound if seconds > 1 else 0 * sound, rate)
    made = soundloom("edit", "in.wav", "Only drums", "-o", "out.wav", "--model", editor, "--engine", engine)
    assert made.code == 0
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.channels, info.frames) == (rate, channels, samples)
    shown = soundloom("show", "out.wav").out
    assert "understood: Music piece. Instruct: Only Drums." in shown
    assert "CC-BY-NC" in shown


def test_a_residual_is_written_beside_the_result(soundloom, editor, source, tmp_path):
    flags = ("--model", editor, "--seed", 7, "--residual", "--normalize", "-1dbtp", "--fade-out", 0.1)
    made = soundloom("edit", source, "No piano", *flags, "--json")
    report = json.loads(made.out)
    assert report["files"] == [str(tmp_path / "source-edit.wav")]
    facts = report["clips"][0]["residual"]
    assert facts["file"] == str(tmp_path / "source-edit-residual.wav")
    info = soundfile.info(facts["file"])
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (48000, 2, 24000, "PCM_16")
    record = read_record(facts["file"])
    assert record["mode"] == "residual"
    assert record["residual"] == {name: value for name, value in facts.items() if name != "file"}
    assert "CC-BY-NC" in record["license"]
    # As the record says, of the result as it was before it was faded and leveled.
    soundloom("edit", source, "No piano", "--model", editor, "--seed", 7, "--subtype", "float", "-o", "plain.wav")
    plain, whole, left = (soundfile.read(name)[0] for name in ("plain.wav", source, facts["file"]))
    moved = np.roll(plain, -facts["delay_samples"], axis=0)
    inside = slice(2400, -2400)
    assert np.allclose((np.array(facts["gains"]) * moved + left)[inside], whole[inside], atol=1e-3)


def test_residuals_print_their_path_and_follow_a_rejected_clip(soundloom, editor, source, tmp_path):
    flags = ("--model", editor, "--seed", 7, "--residual", "-o", "x.wav")
    assert soundloom("edit", source, "No piano", *flags).out.split() == ["x.wav", "x-residual.wav"]
    (tmp_path / "x.wav").unlink()
    refused = soundloom("edit", source, "No piano", *flags, "--no-overwrite")
    assert refused.code == 1
    assert "x-residual.wav exists already" in refused.err
    report = json.loads(soundloom("edit", source, "No piano", *flags, "--count", 2, "--pick", 1, "--json").out)
    (rejected,) = [clip for clip in report["clips"] if not clip["pick"]["kept"]]
    assert rejected["path"] == "rejected/x_1.wav"
    assert rejected["residual"]["file"] == "rejected/x_1-residual.wav"
    assert files_in(tmp_path / "rejected") == ["x_1-residual.wav", "x_1.wav"]
    assert files_in(tmp_path) == ["rejected", "source.wav", "x-residual.wav", "x_0-residual.wav", "x_0.wav"]


def test_a_source_that_is_replaced_has_a_residual(soundloom, editor, source, tmp_path):
    flags = ("--model", editor, "--seed", 7, "--residual")
    assert soundloom("edit", source, "No piano", *flags, "-o", "other.wav").code == 0
    assert soundloom("edit", source, "No piano", *flags, "-o", source, "--overwrite").code == 0
    assert np.array_equal(soundfile.read("other-residual.wav")[0], soundfile.read("source-residual.wav")[0])


def test_raw_passes_the_instruction_unchanged(soundloom, editor, source):
    made = soundloom("edit", source, "make it jazz", "--raw", "-o", "out.wav", "--model", editor)
    assert made.code == 0
    assert "understood" not in made.err
    assert read_record("out.wav")["understood"] == "make it jazz"


def test_music_is_generated_and_repeated(soundloom, composer):
    first = soundloom("generate", "a piano", "--model", composer, "--seconds", 0.4, "--seed", 5, "-o", "a.wav")
    assert first.code == 0
    assert soundfile.info("a.wav").frames == 12800
    assert soundfile.info("a.wav").samplerate == 32000
    assert soundloom("generate", "--like", "a.wav", "--model", composer, "-o", "b.wav").code == 0
    assert np.array_equal(soundfile.read("a.wav")[0], soundfile.read("b.wav")[0])
    assert soundloom("generate", "--like", "a.wav", "--model", composer, "--top-k", 1, "-o", "c.wav").code == 0
    assert not np.array_equal(soundfile.read("a.wav")[0], soundfile.read("c.wav")[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("edit", "source.wav", "--model", "EDITOR"), "no instruction was given"),
        (("edit", "source.wav", "Only", "--model", "EDITOR"), "names no instrument"),
        (("edit", "source.wav", "Only drums", "--window", 11, "--model", "EDITOR"), "2 to 500 frames"),
        (("edit", "source.wav", "Only drums", "--model", "mini"), "mini is not a MusicGen model"),
        (("edit", "source.wav", "Only drums", "--model", "no-such"), "no model is named 'no-such'"),
        (("edit", "source.wav", "Only drums", "--model", "COMPOSER"), "no adapter"),
        (("edit", "source.wav", "Only drums", "--model", "EDITOR", "-o", "source.wav"), "is the file to edit"),
        (("generate", "a piano", "--model", "EDITOR"), "none to edit"),
        (("generate", "a piano", "--model", "COMPOSER", "--steps", 4), "no use for --steps"),
        (("generate", "a piano", "--model", "COMPOSER", "--region", "1,2"), "no use for --region"),
        (("generate", "a piano", "--model", "mini", "--top-k", 4), "mini has no use for --top-k"),
        (("generate", "a piano", "--model", "musicgen-melody"), "does not support melody"),
        (("vary", "source.wav", "--model", "musicgen-small"), "not a Stable Audio model"),
    ],
)
def test_invalid_requests_fail_without_output(soundloom, editor, composer, source, tmp_path, arguments, sentence):
    folders = {"EDITOR": editor, "COMPOSER": composer}
    made = soundloom(*(folders.get(each, each) for each in arguments))
    assert made.code == 2
    assert sentence in made.err
    assert files_in(tmp_path) == ["source.wav"]


def test_models_shows_and_verifies_music_models(soundloom, editor):
    shown = soundloom("models", "show", editor).out
    assert "layout: musicgen" in shown and "text encoder: yes" in shown
    assert "all names, shapes, and values are correct" in soundloom("models", "verify", editor).out
    assert "CC-BY-NC" in shown
    listed = soundloom("models", "show", "instruct-musicgen").out
    assert "ldzhangyx/instruct-MusicGen/finetuned.ckpt" in listed and "NonCommercial 4.0" in listed


def test_nothing_is_downloaded_before_the_license_is_accepted(soundloom, source, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    made = soundloom("edit", source, "Only drums", "-o", "out.wav")
    assert made.code == 1
    assert "the license of instruct-musicgen was not accepted" in made.err
    assert "NonCommercial 4.0" in made.err
    assert "--accept-license" in made.err


def test_a_file_too_long_for_memory_fails_before_any_edit(soundloom, editor, tmp_path, monkeypatch):
    for name, seconds in (("a.wav", 0.2), ("b.wav", 2.0)):
        soundfile.write(name, np.random.default_rng(0).uniform(-0.4, 0.4, round(seconds * 22050)), 22050)
    for module in ("soundloom.cli.music", "soundloom.audio.read"):
        monkeypatch.setattr(f"{module}.max_frames", lambda size, channels: 22050)
    with pytest.raises(AudioError) as caught:
        Clip.load(Path("b.wav"))
    made = soundloom("edit", "a.wav", "b.wav", "Only drums", "-o", "edited/", "--model", editor)
    assert made.code != 0
    assert str(caught.value).splitlines()[0] in made.err
    assert not list(tmp_path.rglob("*edit*.wav"))


def test_files_are_loaded_one_at_a_time_with_one_model(soundloom, editor, tmp_path, monkeypatch):
    names = [f"{i}.wav" for i in range(4)]
    for i, name in enumerate(names):
        soundfile.write(name, np.random.default_rng(i).uniform(-0.4, 0.4, 9000), 22050)
    held, most, read = [], [], executor.mono_at_rate

    def watched(clip, rate):
        audio = read(clip, rate)
        held.append(weakref.ref(audio))
        most.append(sum(reference() is not None for reference in held))
        return audio

    monkeypatch.setattr(executor, "mono_at_rate", watched)
    freed, free = [], TorchMusicEngine.free
    monkeypatch.setattr(TorchMusicEngine, "free", lambda engine, *names: freed.extend(names) or free(engine, *names))
    made = soundloom("edit", *names, "Only drums", "-o", "edited/", "--model", editor, "--seed", 7)
    assert made.out.splitlines() == [f"edited/{i}-edit.wav" for i in range(4)]
    assert len(most) == 4, "each file is read into memory once"
    assert max(most) <= 2, "of four"
    assert freed.count("lm") == 1, "when the last file was edited"


def test_commands_for_stable_audio_reject_a_musicgen_folder(soundloom, composer, source):
    for command in (("encode", source, "--model", composer), ("convert", composer, "out", "--layout", "npz")):
        done = soundloom(*command)
        assert done.code == 1
        assert "this is a MusicGen model, and a Stable Audio model is needed" in done.err
