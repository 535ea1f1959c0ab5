"""Names, finishing, tables and choices of commands that write many files."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundloom.audio.clip import Clip
from soundloom.audio.loudness import integrated_loudness, true_peak
from soundloom.audio.metadata import read_record
from soundloom.cli import picking, saving
from soundloom.errors import OutputError
from soundloom.pipeline import plan as plan_module
from soundloom.pipeline.stable_audio.model import Model
from tests.cli.conftest import files_in

SHORT = ("--seconds", 0.2, "--duration-padding", 0)
MUSIC = "kick, 129 BPM, F# minor"


@pytest.fixture
def pairs(monkeypatch):
    """Use batches of two clips."""
    monkeypatch.setattr(plan_module, "MAX_BATCH", 2)


@pytest.fixture
def generate_from(monkeypatch):
    """Replace what the model generates by the audio (2, samples) of a function of the seed; None fails the checks."""

    def replace(audio_of):
        wrap = Model._clip

        def clip(model, planned, result):
            audio = audio_of(planned.seed)
            if audio is None:
                raise OutputError(f"seed {planned.seed} is silent")
            made = wrap(model, planned, result)
            return Clip(audio.astype(np.float32), made.sample_rate, made.record)

        monkeypatch.setattr(Model, "_clip", clip)

    return replace


def drums(bpm, seconds=3.0, rate=44100):
    """A kick and a snare on alternate beats, with a hi-hat on each half of them."""
    random, audio, n = np.random.default_rng(0), np.zeros((2, round(seconds * rate))), np.arange(6000)
    kick, snare = np.sin(2 * np.pi * 60 * n / rate) * np.exp(-n / 1500), random.normal(0, 0.3, 6000) * np.exp(-n / 900)
    hat = np.diff(random.normal(0, 0.1, 6000) * np.exp(-n / 200), prepend=0)
    for step in range(int(seconds * bpm / 30)):
        place = round(step * 30 / bpm * rate)
        sound = hat + kick * (step % 4 == 0) + snare * (step % 4 == 2)
        audio[:, place : place + 6000] += 0.5 * sound[: audio.shape[1] - place]
    return audio


def rows_of(path="made.csv"):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Names


def test_a_name_fills_in_placeholders_inside_the_folder_of_out(make):
    made = make("generate", MUSIC, *SHORT, "--count", 2, "--seed", 4, "--name", "a_{n:03}_{seed}_{bpm}", "-o", "out")
    assert made.out.split() == ["out/a_000_4_129.wav", "out/a_001_5_129.wav"]
    name = "{key}-{model}-{prompt}.flac"
    assert make("generate", MUSIC, *SHORT, "--name", name).out == "f-sharp-minor-tiny-kick-129-bpm-f-minor.flac\n"
    assert make("generate", MUSIC, *SHORT, "--name", "v1.2").out == "v1.2.wav\n"


def test_clips_that_would_share_a_name_are_numbered(make):
    assert make("generate", "rain", *SHORT, "--count", 2, "--name", "rain").out.split() == ["rain_0.wav", "rain_1.wav"]


def test_numbers_have_a_width_in_out_too(make):
    made = make("generate", "rain", *SHORT, "--count", 2, "-o", "{n:02}/x{n:03}.wav")
    assert made.out.split() == ["00/x000.wav", "01/x001.wav"]


def test_an_edit_is_named_beside_its_source_in_its_format(make, source):
    made = make("vary", source, "--name", "step_{n:02}", "--count", 2)
    assert made.paths == [source.with_name("step_00.wav"), source.with_name("step_01.wav")]


def test_numbers_count_through_all_sources(make, source, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(source.read_bytes())
    made = make("loop", source, other, "hum", "--count", 2, "--name", "loop_{n:02}", "-o", "out")
    assert made.out.split() == [f"out/loop_0{i}.wav" for i in range(4)]
    assert make("loop", source, other, "hum", "-o", "out/{n}.wav").out.split() == ["out/0.wav", "out/1.wav"]


def test_a_named_file_is_replaced_unless_forbidden(make):
    flags = ("generate", "rain", *SHORT, "--name", "rain")
    assert [make(*flags).out for _ in range(2)] == ["rain.wav\n"] * 2
    refused = make(*flags, "--no-overwrite")
    assert (refused.code, refused.out) == (1, "")
    assert "rain.wav exists already" in refused.err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--name", ""), "--name '' is not the name of a file"),
        (("--name", "a/b"), "--name 'a/b' is not the name of a file\nhint: name the folder with -o"),
        (("--name", ".."), "is not the name of a file"),
        (("--name", ".wav"), "is not the name of a file"),
        (("--name", "a\0b"), "is not the name of a file"),
        (("--name", "x" * 300), "is longer than 255 bytes"),
        (("--name", "ü" * 130), "is longer than 255 bytes"),
        (("--name", "{n:2}"), "--name has no placeholder {n:2}"),
        (("--name", "{n:0}"), "--name has no placeholder {n:0}"),
        (("--name", "{n:0100}"), "--name has no placeholder {n:0100}"),
        (("--name", "{n:03.1f}"), "--name has no placeholder {n:03.1f}"),
        (("--name", "{n!r}"), "--name has no placeholder {n!r}"),
        (("--name", "{bmp}"), "--name has no placeholder {bmp}\nhint: did you mean {bpm}?"),
        (("--name", "{n.real}"), "--name has no placeholder {n.real}"),
        (("--name", "a{"), "--name a{ has an unbalanced brace"),
        (("--name", "{bpm}"), "--name has {bpm}, but 'rain' does not name one tempo, such as 120 BPM"),
        (("-o", "{key}.wav"), "--out has {key}, but 'rain' does not name one key, such as A minor"),
        (("--name", "x", "-o", "y.wav"), "-o y.wav names a file, and so does --name"),
    ],
)
def test_invalid_names(make, tmp_path, flags, sentence):
    refused = make("generate", "rain", *flags)
    assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", [])
    assert sentence in refused.err


# Finish


def test_clips_are_trimmed_faded_and_leveled_in_this_order(make, generate_from):
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(22050) / 44100)
    generate_from(lambda seed: np.pad(np.stack([tone, tone]), ((0, 0), (4410, 8820))))
    flags = ("--trim-silence", "--fade-in", 0.1, "--fade-out", 0.2, "--normalize", "-20lufs", "--subtype", "float")
    made = make("generate", "rain", "--seconds", 0.8, *flags, "--rate", 22050, "-o", "x.wav", "--json")
    audio, rate = soundfile.read("x.wav", dtype="float32", always_2d=True)
    assert (rate, len(audio) / rate) == (22050, pytest.approx(0.52, abs=0.001))
    assert np.abs(audio[:20]).max() < 1e-3 < np.abs(audio[5000:6000]).max()
    assert integrated_loudness(audio.T, rate) == pytest.approx(-20, abs=0.1)
    clip = json.loads(made.out)["clips"][0]
    assert clip["seconds"] == pytest.approx(0.52, abs=0.001)
    assert clip["finish"] == {
        "trim_silence": {
            "threshold": -60.0,
            "margin": 0.01,
            "start": pytest.approx(0.09, abs=0.001),
            "end": pytest.approx(0.19, abs=0.001),
        },
        "fade_in": 0.1,
        "fade_out": 0.2,
        "normalize": "-20lufs",
        "true_peak": -1.0,
    }
    assert clip["finish"] == read_record("x.wav")["finish"]


@pytest.mark.parametrize(
    ("level", "measure", "expected"),
    [
        ("-1dbtp", lambda audio, rate: true_peak(audio, rate), -1),
        ("-3db", lambda audio, rate: 20 * np.log10(np.abs(audio).max()), -3),
    ],
)
def test_levels_of_peaks(make, level, measure, expected):
    for form in (("--normalize", level), (f"--normalize={level}",)):
        assert make("generate", "rain", *SHORT, *form, "-o", "x.wav").code == 0
        audio, rate = soundfile.read("x.wav", dtype="float32", always_2d=True)
        assert measure(audio.T, rate) == pytest.approx(expected, abs=0.02)


def test_a_warning_says_that_nothing_was_trimmed(make, generate_from):
    flags = ("generate", "rain", *SHORT, "--trim-silence", "-o", "x.wav")
    assert "--trim-silence found nothing below -60 dB of the peak; raise --trim-threshold" in make(*flags).err
    generate_from(lambda seed: np.pad(drums(120, 0.5), ((0, 0), (4410, 0))))
    assert "found nothing" not in make(*flags).err


def test_lufs_is_the_same_as_normalize(make):
    flags = ("generate", "rain", *SHORT, "--seed", 1)
    make(*flags, "--lufs", -30, "-o", "a.wav")
    make(*flags, "--normalize", "-30lufs", "-o", "b.wav")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_like_repeats_the_finish_unless_a_flag_says_otherwise(make):
    flags = ("--trim-silence", "--trim-threshold", -30, "--fade-out", 0.05, "--normalize", "-30lufs", "--true-peak", -2)
    make("generate", "rain", *SHORT, "--seed", 1, *flags, "-o", "a.wav")
    finish = read_record("a.wav")["finish"]
    assert (finish["trim_silence"]["threshold"], finish["true_peak"]) == (-30, -2)
    make("generate", "--like", "a.wav", "-o", "b.wav")
    assert np.array_equal(soundfile.read("a.wav")[0], soundfile.read("b.wav")[0])
    assert read_record("b.wav")["finish"] == finish
    make("generate", "--like", "a.wav", "--no-trim-silence", "--fade-out", 0, "--normalize", "none", "-o", "c.wav")
    assert "finish" not in read_record("c.wav")
    assert soundfile.info("c.wav").duration == 0.2
    make("generate", "--like", "a.wav", "--normalize", "-1dbtp", "-o", "d.wav")
    assert read_record("d.wav")["finish"]["normalize"] == "-1dbtp"
    make("generate", "--like", "a.wav", "--lufs", "-40", "-o", "e.wav")
    assert read_record("e.wav")["finish"]["normalize"] == "-40lufs"


def test_edits_are_finished_and_warn_that_samples_change(make, source):
    made = make("extend", source, "--seconds", 0.2, "--fade-out", 0.1, "--normalize", "-1dbtp", "-o", "x.wav")
    assert made.code == 0
    assert "--normalize turns them up or down; fades change those at the ends" in made.err
    audio = soundfile.read("x.wav")[0]
    assert np.abs(audio[-20:]).max() < 1e-3
    assert read_record("x.wav")["finish"]["fade_out"] == 0.1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--normalize", "-16"), "'-16' is not a level\nhint: -16lufs is a loudness"),
        (("--normalize", "loud"), "'loud' is not a level"),
        (("--normalize", ""), "'' is not a level"),
        (("--normalize", "3db"), "a level must be -70 to 0 dB, found 3"),
        (("--lufs", "nan"), "a level must be -70 to 0 LUFS, found nan"),
        (("--lufs", "5"), "a level must be -70 to 0 LUFS, found 5"),
        (("--lufs", "-16", "--normalize", "-16lufs"), "--lufs and --normalize both set the level"),
        (("--normalize", "-1dbtp", "--true-peak", "-2"), "--true-peak is the limit of --lufs"),
        (("--lufs", "-14", "--true-peak", "nan"), "a true peak must be at most 0 dBTP"),
        (("--fade-in", "-1"), "fade-in must be 0 seconds or more"),
        (("--fade-out", "nan"), "fade-out must be 0 seconds or more"),
        (("--fade-out", "inf"), "fade-out must be 0 seconds or more"),
        (("--fade-out", "soon"), "invalid float value: 'soon'"),
        (("--fade-in", "0.15", "--fade-out", "0.1"), "fades of 0.15 and 0.1 s are longer than the clip of 0.2 s"),
        (("--trim-threshold", "-40"), "--trim-threshold has no effect without --trim-silence"),
        (("--trim-silence", "--trim-threshold", "-1e999"), "must be below 0 dB"),
        (("--trim-silence", "--trim-threshold", "0"), "must be below 0 dB"),
        (("--trim-silence", "--trim-threshold", "nan"), "must be below 0 dB"),
    ],
)
def test_invalid_finishes(make, tmp_path, flags, sentence):
    refused = make("generate", "rain", *SHORT, *flags)
    assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", [])
    assert sentence in refused.err


def test_loops_are_leveled_but_neither_trimmed_nor_faded(make, source, tmp_path):
    loops = (("generate", "rain", *SHORT, "--loop", "--seam", 0.05), ("loop", source, "rain", "--seam", 0.1))
    for loop in loops:
        for flags in (("--trim-silence",), ("--fade-in", 0.01), ("--fade-out", 0.01)):
            refused = make(*loop, *flags)
            assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", ["source.wav"])
            assert "a loop cannot be trimmed or faded: it would no longer repeat without a break" in refused.err
    for number, loop in enumerate(loops):
        assert make(*loop, "--normalize", "-3db", "--fade-out", 0, "-o", f"{number}.wav").code == 0
        audio = soundfile.read(f"{number}.wav")[0]
        assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(-3, abs=0.01)
        assert "loop" in read_record(f"{number}.wav")


# The table


def test_the_table_lists_the_clips(make):
    made = make("generate", '=rain, "heavy"', "Größe", *SHORT, "--seed", 3, "--lufs", "-30", "--csv", "made.csv")
    rows = rows_of()
    assert [row["file"] for row in rows] == made.out.split()
    assert [row["prompt"] for row in rows] == ['\'=rain, "heavy"', "Größe"]
    assert [(row["seed"], row["status"], row["model"], row["seconds"]) for row in rows] == [
        *(("3", "saved", "tiny", "0.2"), ("4", "saved", "tiny", "0.2"))
    ]
    for row in rows:
        audio, rate = soundfile.read(row["file"], dtype="float32", always_2d=True)
        assert float(row["lufs"]) == pytest.approx(integrated_loudness(audio.T, rate), abs=1e-3)
        assert float(row["peak_db"]) == pytest.approx(20 * np.log10(np.abs(audio).max()), abs=1e-3)
        assert (row["tempo"], row["score"]) == ("", "")


def test_the_table_has_the_warnings_of_the_file(make, generate_from):
    generate_from(lambda seed: np.sin(np.arange(8820) / 9)[None].repeat(2, axis=0) * 2)
    make("generate", "rain", *SHORT, "--csv", "made.csv")
    assert "the clip was attenuated by" in rows_of()[0]["warnings"]


def test_an_interrupted_command_keeps_its_rows(make, pairs, generate_from, tmp_path):
    def audio(seed):
        if seed == 4:
            raise KeyboardInterrupt
        return drums(120, 0.5)

    generate_from(audio)
    flags = ("--count", 12, "--seed", 0, "--csv", "made.csv", "--pick", 3, "--name", "x_{n:02}")
    made = make("generate", "rain", *SHORT, *flags)
    files = [f"x_0{i}.wav" for i in range(4)]
    assert (made.code, made.out.split()) == (130, files)
    assert [(row["file"], row["status"]) for row in rows_of()] == [(file, "saved") for file in files]
    assert files_in(tmp_path) == ["made.csv", *files]


def test_a_clip_that_is_interrupted_while_it_is_measured_has_a_row(make, monkeypatch, tmp_path):
    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "saved_facts", stop)
    made = make("generate", "rain", *SHORT, "--count", 2, "--seed", 0, "--csv", "made.csv", "-o", "x.wav")
    assert (made.code, made.out) == (130, "x_0.wav\n")
    assert files_in(tmp_path) == ["made.csv", "x_0.wav"]
    assert [(row["file"], row["seed"], row["lufs"]) for row in rows_of()] == [("x_0.wav", "0", "")]


def test_ctrl_c_right_after_a_file_is_saved_costs_no_row(make, monkeypatch, tmp_path):
    save = saving.save

    def save_and_interrupt(*arguments):
        path = save(*arguments)
        signal.raise_signal(signal.SIGINT)
        return path

    monkeypatch.setattr(saving, "save", save_and_interrupt)
    made = make("generate", "rain", *SHORT, "--count", 2, "--seed", 0, "--csv", "made.csv", "-o", "x.wav")
    assert (made.code, made.out) == (130, "x_0.wav\n")
    assert [(row["file"], row["seed"]) for row in rows_of()] == [("x_0.wav", "0")]


@pytest.mark.parametrize("name", ["made", "made.wav", "folder.csv", "-", ""])
def test_invalid_tables(make, tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    refused = make("generate", "rain", "--csv", name)
    assert (refused.code, files_in(tmp_path)) == (2, ["folder.csv"])
    assert "--csv names a file that ends in .csv" in refused.err


def test_a_table_that_cannot_be_written_fails_before_generation(make, tmp_path):
    (tmp_path / "file").touch()
    refused = make("generate", "rain", *SHORT, "--csv", "file/made.csv", "-o", "x.wav")
    assert (refused.code, files_in(tmp_path)) == (1, ["file"])
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        assert make("generate", "rain", *SHORT, "--csv", "locked/made.csv", "-o", "x.wav").code == 1
        assert files_in(tmp_path) == ["file", "locked"]


def test_an_existing_table_is_replaced_unless_forbidden(make, tmp_path):
    (tmp_path / "made.csv").write_text("mine")
    refused = make("generate", "rain", *SHORT, "--csv", "made.csv", "--no-overwrite")
    assert (refused.code, (tmp_path / "made.csv").read_text()) == (1, "mine")
    assert make("generate", "rain", *SHORT, "--csv", "made.csv").code == 0
    assert len(rows_of()) == 1


# The choice

BPMS = [90, 129, 110, 128, 160, 131]
PICK = ("generate", MUSIC, "--seconds", 3, "--duration-padding", 0, "--seed", 0, "--count", len(BPMS), "--pick", 3)


def test_the_clips_nearest_to_the_tempo_are_kept(make, generate_from, tmp_path):
    generate_from(lambda seed: drums(BPMS[seed]))
    made = make(*PICK, "--name", "k_{n}", "-o", "out", "--csv", "made.csv", "--json")
    report = json.loads(made.out)
    assert report["files"] == ["out/k_1.wav", "out/k_3.wav", "out/k_5.wav"]
    assert report["rejected"] == ["out/rejected/k_0.wav", "out/rejected/k_2.wav", "out/rejected/k_4.wav"]
    assert files_in(tmp_path / "out") == ["k_1.wav", "k_3.wav", "k_5.wav", "rejected"]
    assert files_in(tmp_path / "out" / "rejected") == ["k_0.wav", "k_2.wav", "k_4.wav"]
    picks = [clip["pick"] for clip in report["clips"]]
    assert [pick["kept"] for pick in picks] == [False, True, False, True, False, True]
    assert picks[1]["rank"] == 1
    assert picks[1]["terms"]["tempo"]["asked"] == 129
    assert picks[1]["terms"]["tempo"]["found"] == pytest.approx(129, rel=0.01)
    assert report["clips"][1]["measured"]["sound_seconds"] > 2.5
    rows = rows_of()
    assert [row["file"] for row in rows] == [clip["path"] for clip in report["clips"]]
    assert [row["status"] for row in rows] == ["rejected", "kept"] * 3
    assert [float(row["score"]) for row in rows] == [pick["score"] for pick in picks]
    assert "tempo" in rows[0]["reason"]
    assert "kept out/k_1.wav: rank 1, score" in made.err
    assert "rejected out/rejected/k_0.wav: rank" in made.err
    assert all(read_record(row["file"])["request"]["prompt"] == MUSIC for row in rows)


def test_stdout_names_the_kept_clips_only(make, generate_from):
    generate_from(lambda seed: drums(BPMS[seed]))
    assert make(*PICK, "-o", "k.wav").out.split() == ["k_1.wav", "k_3.wav", "k_5.wav"]


def test_rejected_clips_can_be_dropped(make, generate_from, tmp_path):
    generate_from(lambda seed: drums(BPMS[seed]))
    made = make(*PICK, "-o", "k.wav", "--drop-rejected", "--sidecar", "--csv", "made.csv", "--json")
    report = json.loads(made.out)
    kept = ["k_1", "k_3", "k_5"]
    assert files_in(tmp_path) == sorted(
        [f"{name}.{suffix}" for name in kept for suffix in ("json", "wav")] + ["made.csv"]
    )
    assert report["rejected"] == []
    assert [clip["path"] for clip in report["clips"]] == [None, "k_1.wav", None, "k_3.wav", None, "k_5.wav"]
    assert [(row["status"], row["file"]) for row in rows_of()][:2] == [("dropped", ""), ("kept", "k_1.wav")]


def test_sidecars_move_along_and_nothing_is_replaced(make, generate_from, tmp_path):
    generate_from(lambda seed: drums(BPMS[seed]))
    (tmp_path / "rejected").mkdir()
    (tmp_path / "rejected" / "k_0.json").write_text("mine")
    make(*PICK, "-o", "k.wav", "--sidecar")
    found = files_in(tmp_path / "rejected")
    assert found == ["k_0-2.json", "k_0-2.wav", "k_0.json", "k_2.json", "k_2.wav", "k_4.json", "k_4.wav"]
    assert (tmp_path / "rejected" / "k_0.json").read_text() == "mine"


def test_each_prompt_has_its_own_choice(make, generate_from):
    generate_from(lambda seed: drums(BPMS[seed]))
    flags = ("--seconds", 3, "--duration-padding", 0, "--seed", 0, "--count", 3, "--pick", 1, "--name", "{n}")
    made = make("generate", "-p", "loop, 110 BPM", "-p", "loop, 131 BPM", *flags)
    assert made.out.split() == ["2.wav", "5.wav"]


def test_clips_that_fail_the_checks_are_rejected(make, generate_from):
    generate_from(lambda seed: None if seed in (1, 2) else drums(BPMS[seed]))
    made = make(*PICK, "-o", "k.wav", "--csv", "made.csv")
    assert (made.code, made.out.split()) == (0, ["k_3.wav", "k_4.wav", "k_5.wav"])
    assert "2 of 6 clips failed the output checks and were not saved" in made.err
    assert [row["status"] for row in rows_of()] == ["rejected", "failed", "failed", "kept", "kept", "kept"]
    assert (rows_of()[1]["seed"], rows_of()[1]["file"]) == ("1", "")


def test_too_few_usable_clips_are_an_error(make, generate_from):
    generate_from(lambda seed: drums(BPMS[seed]) if seed < 2 else None)
    made = make(*PICK, "-o", "k.wav", "--csv", "made.csv")
    assert (made.code, made.out.split()) == (1, ["k_0.wav", "k_1.wav"])
    assert "seed 2 is silent" in made.err
    assert [row["status"] for row in rows_of()] == ["kept", "kept", "failed", "failed", "failed", "failed"]


def test_the_choice_is_the_same_each_time(make, generate_from):
    generate_from(lambda seed: drums(129) * (1 + seed / 10))
    flags = ("--seconds", 3, "--duration-padding", 0, "--seed", 0, "--count", 3, "--pick", 2, "--json")
    reports = [json.loads(make("generate", MUSIC, *flags, "-o", f"{name}/").out) for name in "ab"]
    a, b = ([clip["pick"] for clip in report["clips"]] for report in reports)
    assert a == b
    assert [pick["kept"] for pick in a] == [True, True, False]  # equal scores keep the order


def test_a_warning_says_that_nothing_was_asked(make, source):
    made = make("vary", source, "rain", "--count", 2, "--pick", 1, "-o", "x.wav")
    assert (made.code, made.out) == (0, "x_0.wav\n")
    assert "--pick has nothing to measure" in made.err
    made = make("generate", "rain", *SHORT, "--count", 2, "--pick", 1, "--seed", 0)
    assert "nothing to measure" not in made.err


def test_a_loudness_that_the_peak_forbids_lowers_the_score(make, generate_from):
    """Of clips of one rhythm, those that reach the level are kept."""

    def audio(seed):
        loop = drums(129)
        if seed % 2:
            loop[:, 50_000] = 20 * np.abs(loop).max()  # a peak that limits the gain
        return 0.04 * loop

    generate_from(audio)
    made = make(*PICK, "-o", "k.wav", "--normalize", "-20lufs")
    assert made.out.split() == ["k_0.wav", "k_2.wav", "k_4.wav"]
    assert "of -20 LUFS" in made.err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--pick", 0), "--pick 0 does not choose among the one clip of each prompt"),
        (("--pick", -1, "--count", 4), "--pick -1 does not choose among the 4 clips of each prompt"),
        (("--pick", 5, "--count", 4), "--pick 5 does not choose among the 4 clips of each prompt"),
        (("--pick", "many"), "'many' is not an integer"),
        (("--drop-rejected",), "--drop-rejected has no effect without --pick"),
    ],
)
def test_invalid_choices(make, tmp_path, flags, sentence):
    refused = make("generate", "rain", *SHORT, *flags)
    assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", [])
    assert sentence in refused.err


def test_edits_ask_for_no_length(make, source, monkeypatch):
    asked, score = [], picking.score
    monkeypatch.setattr(picking, "score", lambda *given: asked.append(given[0]) or score(*given))
    assert make("extend", source, "hum, 90 BPM in A minor", "--seconds", 0.2, "--count", 2, "--pick", 1).code == 0
    assert [(one.tempo, one.key, one.seconds, one.loudness) for one in asked] == [(90, "A minor", None, None)] * 2
