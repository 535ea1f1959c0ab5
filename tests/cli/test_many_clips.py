"""Many clips of one command: saving, file names, and prompts from files."""

import io
import json
import re
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from soundloom.audio.metadata import read_record
from soundloom.errors import OutputError
from soundloom.pipeline import plan as plan_module
from soundloom.pipeline.stable_audio.model import Model
from tests.cli.conftest import files_in

SHORT = ("--seconds", 0.05, "--duration-padding", 0)


@pytest.fixture
def pairs(monkeypatch):
    """Use batches of two clips."""
    monkeypatch.setattr(plan_module, "MAX_BATCH", 2)


@pytest.fixture
def stop_at_seed(monkeypatch):
    """Raise an error or KeyboardInterrupt when the clip of a seed is checked."""

    def stop(seed, error):
        check = Model._clip

        def clip(model, planned, result):
            if planned.seed == seed:
                raise error
            return check(model, planned, result)

        monkeypatch.setattr(Model, "_clip", clip)

    return stop


def test_ctrl_c_preserves_finished_clips(make, pairs, stop_at_seed, tmp_path):
    stop_at_seed(4, KeyboardInterrupt())
    made = make("generate", "rain", "--count", 12, "--seed", 0, *SHORT, "-o", "x.wav")
    assert made.code == 130
    assert made.out.splitlines() == [f"x_0{i}.wav" for i in range(4)]
    assert files_in(tmp_path) == made.out.splitlines()
    assert "saved 4 of 12 clips\ninterrupted; no unfinished files remain" in made.err


def test_an_error_preserves_clips_of_earlier_batches(make, pairs, stop_at_seed, tmp_path):
    stop_at_seed(3, MemoryError("no memory left"))
    made = make("generate", "rain", "--count", 5, "--seed", 0, *SHORT, "-o", "x.wav", "--json")
    files = [f"x_{i}.wav" for i in range(3)]
    assert (made.code, files_in(tmp_path)) == (1, files)
    assert json.loads(made.out) == {
        "error": "out of memory",
        "hint": "",
        "exit_code": 1,
        "files": files,
    }
    assert "saved 3 of 5 clips" in made.err


def test_a_bad_clip_does_not_affect_others(make, pairs, stop_at_seed, tmp_path):
    stop_at_seed(1, OutputError("static"))
    made = make("generate", "rain", "--count", 4, "--seed", 0, *SHORT, "-o", "x.wav")
    assert (made.code, files_in(tmp_path)) == (1, ["x_0.wav", "x_2.wav", "x_3.wav"])
    assert "saved 3 of 4 clips" in made.err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a process otherwise there")
def test_paths_are_printed_while_later_clips_are_generated(tiny_model_folder):
    flags = ("--model", str(tiny_model_folder), "--count", "400", "--seconds", "0.05", "--steps", "1", "-o", "x.wav")
    process = subprocess.Popen(
        [sys.executable, "-m", "soundloom", "generate", "rain", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has switched Ctrl-C off, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    first = process.stdout.readline().strip()
    assert process.poll() is None
    assert first == "x_000.wav"
    assert soundfile.info(first).frames == 2205
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    saved = 1 + len(rest.splitlines())
    assert process.returncode == 130
    assert f"saved {saved} of 400 clips" in err
    assert "Traceback" not in err


def test_numbers_are_zero_padded(make, tmp_path):
    make("generate", "rain", "--count", 11, *SHORT, "-o", "x.flac")
    assert files_in(tmp_path) == [*(f"x_0{i}.flac" for i in range(10)), "x_10.flac"]


def test_placeholders_in_out_are_filled(make, tmp_path):
    flags = ("-p", "Rain, on tin!", "-p", "bell", "--seed", "7", *SHORT)
    assert make("generate", *flags, "-o", "{model}/{n}-{prompt}-{seed}.wav").out.split() == [
        "tiny/0-rain-on-tin-7.wav",
        "tiny/1-bell-8.wav",
    ]
    assert make("generate", *flags, "-o", "{prompt}/").out.split() == [
        "rain-on-tin/rain-on-tin-7.wav",
        "bell/bell-8.wav",
    ]
    assert make("generate", *flags, "-o", "{model}.wav").out.split() == ["tiny_0.wav", "tiny_1.wav"]
    assert make("generate", "x", *SHORT, "-o", "a{{b}}.wav").out == "a{b}.wav\n"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("{sed}.wav", "--out has no placeholder {sed}\nhint: did you mean {seed}?"),
        ("{seed:04}.wav", "--out has no placeholder {seed:04}\nhint: placeholders: {seed}, {prompt}, {n}, {model}"),
        ("{}.wav", "--out has no placeholder {}"),
        ("a{b.wav", "has an unbalanced brace\nhint: placeholders: {seed}"),
    ],
)
def test_unknown_placeholders_are_rejected(make, tmp_path, out, sentence):
    refused = make("generate", "rain", "-o", out)
    assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", [])
    assert sentence in refused.err


def test_prompts_come_from_a_file_and_from_stdin(make, tmp_path, monkeypatch):
    (tmp_path / "prompts.txt").write_text("\ufeffrain\n\n# a comment\n  a slow bell \n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("wind\n"))
    made = make("generate", "@prompts.txt", "-p", "-", "-p", "@@home", *SHORT, "-o", "x.wav")
    prompts = [read_record(path)["request"]["prompt"] for path in made.paths]
    assert prompts == ["rain", "a slow bell", "wind", "@home"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot read prompts from prompts.txt: No such file"),
        (b"\n# nothing\n", "prompts.txt contains no prompts"),
        (b"\xff\xfe\x00", "prompts.txt is not UTF-8 text"),
    ],
)
def test_files_without_prompts_are_rejected(make, tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "prompts.txt").write_bytes(content)
    refused = make("generate", "@prompts.txt")
    assert (refused.code, refused.out) == (2, "")
    assert sentence in refused.err


def test_stdin_is_read_once(make, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("wind\n"))
    assert "stdin can be read only once" in make("generate", "-", "-").err


def test_a_prompt_without_quotes_is_rejected_with_a_suggestion(make, tmp_path):
    refused = make("generate", "kick", "drum", "loop", "120", "BPM")
    assert (refused.code, refused.out, files_in(tmp_path)) == (2, "", [])
    assert "5 words without quotes are 5 prompts, each with its own clip" in refused.err
    assert 'soundloom generate "kick drum loop 120 BPM"; for 5' in refused.err
    assert "-p kick -p drum -p loop -p 120 -p BPM" in refused.err


def test_words_with_separate_seeds_or_lengths_are_separate_prompts(make):
    assert len(make("generate", "rain", "bell", "--seconds", "0.05,0.1").paths) == 2
    assert len(make("generate", "rain", "a bell", *SHORT).paths) == 2
    assert len(make("generate", "-p", "rain", "-p", "bell", *SHORT).paths) == 2


@pytest.mark.parametrize(("answer", "clips"), [("\n", 1), ("y\n", 1), ("n\n", 2)])
def test_a_terminal_asks_about_words_without_quotes(make, monkeypatch, answer, clips):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    made = make("generate", "kick", "drum", *SHORT, "--quiet")
    assert len(made.paths) == clips
    assert re.search(r'one clip of "kick drum"\? \[Y/n\]', made.err)


def test_too_many_clips_are_rejected(make):
    refused = make("generate", "rain", "--count", 10**9)
    assert refused.code == 2
    assert "one command generates at most 100,000 clips, not 1000000000\nhint: lower --count" in refused.err
