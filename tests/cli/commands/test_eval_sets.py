"""`eval set`, `eval align` and `eval sweep` on real files, with embedders that need no weights."""

import json

import numpy as np
import pytest
import soundfile

from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.embedders.projection import LogMelEmbedder

RATE = 22050
QUIET = ("--embedder", "log-mel", "-q")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("SOUNDLOOM_DATA", str(tmp_path / ".data"))


def write_sounds(folder, count=12, seed=0, hz=300.0, seconds=1.0):
    """Write noisy tones around a frequency, each with a caption."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    for number in range(count):
        pitch = hz * rng.uniform(0.8, 1.25)
        sound = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * rng.standard_normal(len(time))
        soundfile.write(folder / f"tone {number:02d}.wav", sound, RATE)
        (folder / f"tone {number:02d}.txt").write_text(f"a tone at {pitch:.0f} Hz")
    return folder


def figures(done):
    assert done.code == 0, done.err
    return {metric["name"]: metric for metric in json.loads(done.out)["metrics"]}


def test_a_nearer_set_has_smaller_distances(soundloom, tmp_path):
    write_sounds(tmp_path / "reference", seed=1)
    for name, hz in (("near", 310), ("far", 3000)):
        write_sounds(tmp_path / name, seed=2, hz=hz)
    command = ("eval", "set", "near", "--reference", "reference", *QUIET, "--allow-small", "--json")
    near, far, same = (figures(soundloom(*command[:2], name, *command[3:])) for name in ("near", "far", "reference"))
    for figure in ("fad/log-mel/soundloom", "kad/log-mel/soundloom"):
        assert same[figure]["value"] < near[figure]["value"] < far[figure]["value"] / 3
        assert (near[figure]["count"], near[figure]["windows"], near[figure]["direction"]) == (12, 12, "lower")
        low, high = near[figure]["interval"]
        assert low < near[figure]["value"] < high
        assert near[figure]["recipe"] and near[figure]["embedder"]
    done = soundloom(*command)
    assert json.loads(done.out)["run"]["date"] > "2026"
    assert same["fad/log-mel/soundloom"]["value"] == pytest.approx(0, abs=1e-9)
    assert same["coverage/log-mel/soundloom"]["value"] == 1
    assert far["coverage/log-mel/soundloom"]["value"] == 0


def test_failed_clips_are_counted_and_named(soundloom, tmp_path):
    write_sounds(tmp_path / "reference", seed=1)
    folder = write_sounds(tmp_path / "sounds", seed=2)
    soundfile.write(folder / "tone 00.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "tone 01.wav", np.full(20, 0.5), RATE)
    (folder / "tone 02.wav").write_bytes(b"no sound")
    soundfile.write(folder / "tone 03.wav", np.where(np.arange(RATE) == 5, np.nan, 0.1), RATE, subtype="FLOAT")
    soundfile.write(folder / "tone 04.wav", np.sign(np.sin(np.arange(RATE) / 9)), RATE, subtype="FLOAT")
    done = soundloom(
        "eval", "set", "sounds", "--reference", "reference", *QUIET, "--allow-small", "--json", "-o", "out"
    )
    found = figures(done)
    assert found["fad/log-mel/soundloom"]["count"] == 8
    assert found["set/failures"]["value"] == pytest.approx(4 / 12)
    for fault in ("silent", "not_finite", "clipped", "too_short"):
        assert found[f"set/{fault}"]["value"] == pytest.approx(1 / 12), fault
    page = (tmp_path / "out" / "report.html").read_text()
    assert "tone 02.wav" in page
    assert "not finite" in page
    assert page.count("cannot be read as audio") == 2  # in the table and at the clip
    assert "hint:" not in page
    assert "warning: 4 of 12 clips failed, such as tone 00.wav (silent), tone 01.wav (too short), " in done.err


def test_unusable_sounds_of_the_reference_are_named(soundloom, tmp_path):
    folder, command = write_sounds(tmp_path / "reference", count=1), ("eval", "set", "sounds", "--reference")
    write_sounds(tmp_path / "sounds", seed=2)
    one = soundloom(*command, "reference", *QUIET)
    assert (one.code, one.out) == (2, "")
    assert "the reference reference has 1 usable of 1 clips, and a distance needs 2 or more" in one.err
    soundfile.write(folder / "tone 00.wav", np.zeros(RATE), RATE)
    silent = soundloom(*command, "reference", *QUIET)
    assert "has 0 usable of 1 clips" in silent.err
    assert "hint: tone 00.wav: silent" in silent.err
    assert "Warning" not in silent.err
    soundfile.write(tmp_path / "sounds" / "tone 00.wav", np.zeros(RATE), RATE)
    some = soundloom(*command, "sounds", *QUIET, "--allow-small")
    assert "warning: 1 of 12 sounds of the reference are unusable, and were left out" in some.err


def test_a_second_run_gives_the_same_report_from_the_cache(soundloom, tmp_path, monkeypatch):
    write_sounds(tmp_path / "reference", seed=1)
    write_sounds(tmp_path / "sounds", seed=2)
    command = ("eval", "set", "sounds", "--reference", "reference", *QUIET, "--allow-small", "--json")
    first = figures(soundloom(*command))
    (tmp_path / "sounds" / "tone 00.wav").rename(tmp_path / "sounds" / "first tone.wav")
    monkeypatch.setattr(LogMelEmbedder, "embed", None)  # nothing is embedded again, whatever a file is called
    again = figures(soundloom(*command))
    assert {name: one["value"] for name, one in again.items()} == {name: one["value"] for name, one in first.items()}


def test_a_saved_reference_stands_for_its_sounds(soundloom, tmp_path):
    write_sounds(tmp_path / "reference", seed=1)
    write_sounds(tmp_path / "sounds", seed=2)
    assert soundloom("eval", "set", "reference", "--save-reference", "tones", *QUIET).code == 0
    command = ("eval", "set", "sounds", "--reference", "reference", *QUIET, "--allow-small", "--json")
    values = [figures(soundloom(*command[:4], name, *command[5:])) for name in ("reference", "tones")]
    for figure in ("fad/log-mel/soundloom", "kad/log-mel/soundloom", "density/log-mel/soundloom"):
        assert values[0][figure]["value"] == pytest.approx(values[1][figure]["value"], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sounds",), "eval set needs --reference"),
        (("--reference", "sounds"), "expected SOUNDS or --model, found neither"),
        (("sounds", "--model", "mini", "--reference", "sounds"), "expected SOUNDS or --model, found both"),
        (("sounds", "--prompts", "x", "--reference", "sounds"), "--prompts needs --model"),
        (("sounds", "--reference", "nowhere"), "there is no nowhere"),
        (("sounds", "--reference", "sounds", "--recipe", "fadkt"), "there is no recipe 'fadkt'"),
        (("sounds", "--reference", "sounds", "--embedder", "clip"), "there is no embedder 'clip'"),
        (("sounds", "--reference", "sounds", "--recipe", "fadtk"), "has windows of 10 s, but log-mel hears 1 s"),
        (("--model", "mini", "--prompts", "nowhere", "--reference", "sounds"), "there is no nowhere"),
    ],
)
def test_a_senseless_request_is_one_sentence(soundloom, tmp_path, arguments, sentence):
    write_sounds(tmp_path / "sounds", count=2)
    done = soundloom("eval", "set", *arguments, *(() if "--embedder" in arguments else ("--embedder", "log-mel")))
    assert sentence in done.err
    assert done.code in (1, 2)
    assert "Traceback" not in done.err


def test_too_few_clips_for_a_distance_are_refused(soundloom, tmp_path):
    write_sounds(tmp_path / "reference", seed=1)
    write_sounds(tmp_path / "sounds", count=2)
    done = soundloom("eval", "set", "sounds", "--reference", "reference", *QUIET)
    assert done.code == 2
    assert "usable clips or more, found 2: with fewer it is mostly bias" in done.err


def test_clips_of_a_model_are_generated_once(soundloom, tmp_path):
    write_sounds(tmp_path / "reference")
    (tmp_path / "prompts.txt").write_text("a 440 Hz sine tone\nrain\n")
    command = ("eval", "set", "--model", "mini", "--prompts", "prompts.txt", "--seeds", 2, "--seconds", 0.5)
    command = (*command, "--steps", 1, "--reference", "reference", *QUIET, "--allow-small", "--json", "-o", "out")
    first = figures(soundloom(*command))
    clips = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "clips").iterdir()}
    assert len(clips) == 4
    next(iter(clips)).unlink()
    second = figures(soundloom(*command))
    assert {name: one["value"] for name, one in first.items()} == {name: one["value"] for name, one in second.items()}
    kept = {path for path in clips if path.stat().st_mtime_ns == clips[path]}
    assert len(kept) == 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["subject"]["model"], report["subject"]["steps"]) == ("mini", 1)
    assert (tmp_path / "out" / "embeddings.safetensors").is_file()


def test_captions_of_a_saved_reference_are_the_prompts(soundloom, tmp_path):
    write_sounds(tmp_path / "reference", count=3)
    for number, words in enumerate(("rain", "wind", "a 440 Hz sine tone")):
        (tmp_path / "reference" / f"tone {number:02d}.txt").write_text(words)
    assert soundloom("eval", "set", "reference", "--save-reference", "tones", *QUIET).code == 0
    model = ("--model", "mini", "--seconds", 0.5, "--steps", 1, "--limit", 2)
    done = soundloom("eval", "set", *model, "--reference", "tones", *QUIET, "--allow-small", "--json")
    assert figures(done)["fad/log-mel/soundloom"]["count"] == 2
    assert [clip["prompt"] for clip in json.loads(done.out)["clips"]] == ["rain", "wind"]
    unknown = soundloom("eval", "set", "--model", "minnie", "--reference", "tones", *QUIET)
    assert unknown.code != 0
    assert "minnie" in unknown.err


class PitchEmbedder:
    """Places sounds, and captions that state a frequency, on a half circle by pitch."""

    info = EmbedderInfo("pitch", RATE, RATE, 2, "0" * 64, license="none")

    def embed(self, windows):
        bins = np.abs(np.fft.rfft(windows, axis=1)).argmax(axis=1)
        return self._place(bins * RATE / windows.shape[1])

    def embed_text(self, texts):
        return self._place(np.array([float(text.split()[-2]) for text in texts]))

    def _place(self, hz):
        angle = np.log2(hz / 100) * np.pi / 4
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_captions_are_scored_and_shuffled_ones_score_less(soundloom, tmp_path, monkeypatch):
    monkeypatch.setattr("soundloom.evaluation.embedders.load.load_embedder", lambda name, device=None: PitchEmbedder())
    folder = write_sounds(tmp_path / "sounds", seconds=3.2)
    first = figures(soundloom("eval", "align", "sounds", "--json", "-q"))
    assert first["align/score"]["value"] > 0.999
    assert first["align/score"]["windows"] == 36
    assert first["align/own_caption_wins"]["value"] == 1
    captions = sorted(folder.glob("*.txt"))
    texts = [path.read_text() for path in captions]
    for path, text in zip(captions, texts[1:] + texts[:1], strict=True):
        path.write_text(text)
    shuffled = figures(soundloom("eval", "align", "sounds", "--json", "-q"))
    assert shuffled["align/score"]["value"] < first["align/score"]["value"] - 0.005


class PitchClassifier(PitchEmbedder):
    """Names octaves."""

    info = EmbedderInfo("octaves", RATE, RATE, 2, "1" * 64, labels=("low", "middle", "high"))

    def classify(self, windows):
        octave = np.arctan2(*self.embed(windows).T[::-1])[:, None] / (np.pi / 4)
        return -4 * (octave - np.array([[1, 3, 5]])) ** 2


def test_classes_are_compared_with_those_of_the_same_captions(soundloom, tmp_path, monkeypatch):
    load = "soundloom.evaluation.embedders.load.load_embedder"
    monkeypatch.setattr(load, lambda name, device=None: PitchClassifier())
    write_sounds(tmp_path / "reference")
    write_sounds(tmp_path / "same", seed=0)
    other = write_sounds(tmp_path / "other", seed=0, hz=900)
    for path in (tmp_path / "reference").glob("*.txt"):
        (other / path.name).write_text(path.read_text())
    command = ("--reference", "reference", "--allow-small", "--json", "-q")
    same, shifted = (figures(soundloom("eval", "set", name, *command)) for name in ("same", "other"))
    for figure in ("kl_reference_generated/octaves/soundloom", "kl_generated_reference/octaves/soundloom"):
        assert abs(same[figure]["value"]) < 1e-4 < 1 < shifted[figure]["value"]
        assert shifted[figure]["count"] == 12
    (other / "tone 03.txt").write_text("another caption")
    assert figures(soundloom("eval", "set", "other", *command))[figure]["count"] == 11


def test_captions_need_an_embedder_that_reads(soundloom, tmp_path):
    write_sounds(tmp_path / "sounds", count=2)
    done = soundloom("eval", "align", "sounds", "--embedder", "log-mel")
    assert done.code == 2
    assert "the embedder log-mel reads no texts" in done.err


def test_a_sweep_compares_settings_with_the_first(soundloom, tmp_path):
    command = ("eval", "sweep", "mini", "--steps", "1,2", "--held-out", 4, "--seconds", 1, "-q", "-o", "out")
    done = soundloom(*command)
    assert done.code == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()] == ["setting", "steps=1", "steps=2"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = {metric["name"]: metric["value"] for metric in report["metrics"]}
    assert found["sweep/difference_from_first [steps=1]"] == 0 < found["sweep/difference_from_first [steps=2]"]
    assert 0 <= found["synthetic/obeyed [steps=2]"] <= 1
    assert [len(curve["x"]) for curve in report["curves"]] == [2]
    again = soundloom(*command)  # its clips and times are kept
    assert again.out == done.out
    for setting in ("steps=1", "steps=2"):  # as a run that is killed while it measures leaves them
        (tmp_path / "out" / setting / "report.json").unlink()
    assert soundloom(*command).out == done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "a sweep needs 2 to 64 settings, found 1"),
        (("--steps", "4,8", "--prompts", "x"), "--prompts and --reference go together"),
        (("--lora-strength", "0,1"), "--lora-strength needs --lora"),
        (("--steps", "0,4"), "--seeds, --held-out and --steps must be 1 or more"),
        (("--precision", "fp32,int3"), "'int3' is none of"),
    ],
)
def test_a_senseless_sweep_is_one_sentence(soundloom, arguments, sentence):
    done = soundloom("eval", "sweep", "mini", *arguments)
    assert done.code != 0
    assert sentence in done.err
