import numpy as np
import pytest
import soundfile

from soundloom.audio.metadata import read_record
from tests.cli.conftest import RATE


def integers(path):
    return soundfile.read(path, dtype="int32", always_2d=True)[0]


def test_inpainting_preserves_format_and_samples_outside_the_regions(make, source):
    made = make("inpaint", source, "hum", "--region", "0.1,0.2", "--inpaint-start", 0.3, "--inpaint-end", 0.35)
    (path,) = made.paths
    assert path.name == "source-edit.wav"
    assert (soundfile.info(path).samplerate, soundfile.info(path).subtype) == (RATE, "PCM_16")
    changed = np.flatnonzero((integers(path) != integers(source)).any(axis=1))
    assert {int(changed.min()), int(changed.max())} <= {*range(4800, 4820), *range(16780, 16800)}
    assert not np.isin(changed, range(9600, 14400)).any()
    assert "bit-identical" not in made.err


def test_bars_and_beats_define_regions(make, source):
    made = make("inpaint", source, "--bars", "1.2-2.1", "--bpm", 480, "--meter", "3/4", "-o", "beats.wav")
    assert made.code == 0
    assert read_record("beats.wav")["request"]["regions"] == [[0.125, 0.375]]


def test_published_inpaint_flags_of_generate_do_the_same(make, source):
    make("inpaint", source, "hum", "--region", "0.1,0.2", "--seed", 3, "-o", "ours.wav")
    make(
        "generate",
        "-p",
        "hum",
        "--inpaint-audio",
        source,
        "--inpaint-range",
        "0.1,0.2",
        "--seed",
        3,
        "-o",
        "theirs.wav",
    )
    assert np.array_equal(integers("ours.wav"), integers("theirs.wav"))


def test_vary_and_generate_give_the_same_variation(make, source):
    make("vary", source, "hum", "--seed", 3, "--noise", 0.4, "-o", "ours.wav")
    make("generate", "hum", "--init-audio", source, "--seed", 3, "--init-noise-level", 0.4, "-o", "theirs.wav")
    assert np.array_equal(integers("ours.wav"), integers("theirs.wav"))
    assert read_record("ours.wav")["mode"] == "vary"
    assert soundfile.info("ours.wav").frames == RATE // 2


def test_generate_trims_or_extends_a_source_to_the_given_length(make, source):
    make("generate", "hum", "--init-audio", source, "--seconds", 0.2, "-o", "short.wav")
    make("generate", "hum", "--init-audio", source, "--seconds", 0.6, "-o", "long.wav")
    assert (soundfile.info("short.wav").frames, read_record("short.wav")["mode"]) == (9600, "vary")
    assert (soundfile.info("long.wav").frames, read_record("long.wav")["mode"]) == (28800, "extend")


def test_a_length_between_two_samples_is_still_a_variation(make, source):
    make("generate", "hum", "--init-audio", source, "--seconds", 0.20001, "-o", "short.wav")
    record = read_record("short.wav")
    assert (soundfile.info("short.wav").frames, record["mode"], record["request"]["noise"]) == (9600, "vary", 0.6)


def test_several_lengths_of_one_source_are_rejected(make, source):
    refused = make("generate", "hum", "--init-audio", source, "--seconds", "0.2,0.6", "-o", "x.wav")
    assert refused.code == 2
    assert "--init-audio takes a single length" in refused.err


def test_like_applies_recorded_settings_to_a_source(make, source):
    make("generate", "hum", "--seconds", 0.3, "--seed", 1, "-o", "plain.wav")
    make("generate", "--like", "plain.wav", "--init-audio", source, "-o", "varied.wav")
    record = read_record("varied.wav")
    assert (soundfile.info("varied.wav").frames, record["mode"], record["request"]["noise"]) == (14400, "vary", 0.6)
    make("generate", "--like", "varied.wav", "--init-audio", source, "-o", "again.wav")
    assert np.array_equal(integers("varied.wav"), integers("again.wav"))


def test_a_region_may_be_in_the_extension(make, source):
    made = make("generate", "hum", "--init-audio", source, "--seconds", 0.8, "--region", "0.6,0.7", "-o", "long.wav")
    assert made.code == 0
    assert soundfile.info("long.wav").frames == 38400


@pytest.mark.parametrize(("where", "kept"), [((), slice(0, 24000)), (("--before",), slice(9600, 33600))])
def test_extending_preserves_the_source(make, source, where, kept):
    make("extend", source, "hum", "--seconds", 0.2, *where, "-o", "long.wav")
    made = soundfile.read("long.wav", dtype="float32")[0]
    assert len(made) == 33600
    assert np.array_equal(made[kept], soundfile.read(source, dtype="float32")[0])


def test_the_source_is_only_overwritten_with_overwrite(make, source):
    before = source.read_bytes()
    refused = make("vary", source, "-o", source)
    assert refused.code == 2
    assert f"{source} is the file to edit" in refused.err
    assert source.read_bytes() == before
    assert make("vary", source, "-o", source, "--overwrite").code == 0
    assert source.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--rate", 44100), "resampled from 48000 to 44100 Hz"),
        (("--lufs", -20), "--lufs turns them up or down"),
        (("-o", "edit.mp3"), ".mp3 files are lossy"),
    ],
)
def test_flags_that_change_preserved_samples_warn(make, source, arguments, reason):
    made = make("inpaint", source, "--region", "0.1,0.2", *arguments)
    assert made.code == 0
    assert "preserved samples will not be bit-identical to the source" in made.err
    assert reason in made.err


def test_a_sound_shorter_than_a_latent_frame_can_be_edited(make, tmp_path):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.linspace(-0.5, 0.5, 441), 44100)
    made = make("vary", short)
    assert made.code == 0
    assert soundfile.info(made.paths[0]).frames == 441
