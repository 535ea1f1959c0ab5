"""Closed and full streams, limited encodings, and control characters in untrusted text."""

import io
import logging
import os
import subprocess
import sys

import pytest

from soundloom.cli.main import main
from soundloom.cli.terminal.results import print_results
from soundloom.cli.terminal.streams import error_text, escaped, one_message
from soundloom.errors import DownloadError, RequestError

MADE = 'generate rain --seconds 0.3 --steps 1 --quiet --model "$TINY" -o'
slow = pytest.mark.slow
posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")


@pytest.fixture
def shell(tmp_path, tiny_model_folder):
    """Run a shell command line that may contain `soundloom`."""

    def run(line, **variables):
        command = f'soundloom() {{ "{sys.executable}" -m soundloom "$@"; }}; {line}'
        environment = {**os.environ, "TINY": str(tiny_model_folder), "HF_HUB_OFFLINE": "1", **variables}
        return subprocess.run(["bash", "-c", command], capture_output=True, env=environment, cwd=tmp_path, check=False)

    return run


@posix
@pytest.mark.parametrize(
    "line",
    [
        f"soundloom {MADE} a.wav <&- >&- 2>&-",
        pytest.param(f"soundloom {MADE} a.wav <&-", marks=slow),
        pytest.param(f"soundloom {MADE} a.wav >&-", marks=slow),
        pytest.param(f"soundloom {MADE} a.wav 2>&-", marks=slow),
    ],
)
def test_commands_work_with_closed_streams(shell, tmp_path, line):
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "a.wav").stat().st_size > 1000


@posix
@pytest.mark.parametrize("line", ["models > /dev/full", "models --json > /dev/full"])
def test_an_unwritable_stdout_is_reported(shell, line):
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no /dev/full here")
    done = shell(f"soundloom {line}")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


@slow
@posix
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"(ulimit -f 10; soundloom {MADE} a.wav)", b"a.wav could not be written: File too large"),
        ('(ulimit -f 2; soundloom encode in.wav -o a.npy --model "$TINY")', b"could not be written: File too large"),
    ],
)
def test_a_file_size_limit_is_reported_without_output(shell, tmp_path, line, sentence):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "in.wav", np.random.default_rng(1).uniform(-0.5, 0.5, (44100, 2)), 44100)
    done = shell(line)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@slow
@posix
def test_names_outside_the_encoding_of_a_stream_are_escaped(shell, tmp_path):
    done = shell(f"soundloom {MADE} é.wav", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, b"\\xe9.wav\n")
    assert (tmp_path / "é.wav").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "~nosuchuser/a.wav"), "the home folder in ~nosuchuser/a.wav is unknown"),
        (("--steps", "9" * 20), f"{'9' * 20} does not fit in 64 bits"),
        (("--rate", "-" + "9" * 20), "does not fit in 64 bits"),
        (("--seed", "9" * 20), "a seed must be between"),
        (("--steps", "9" * 5000), "is not an integer"),
        (("--count", "100000000"), "at most 100,000"),
        (("--count", "100001"), "at most 100,000"),
    ],
)
def test_out_of_range_values_are_reported(capsys, arguments, sentence):
    assert main(["generate", "rain", *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error) < 600
    assert error.count("error:") == 1


def test_an_unexpected_error_is_reported(capsys, monkeypatch):
    monkeypatch.delenv("SOUNDLOOM_DEBUG", raising=False)
    monkeypatch.setattr("soundloom.cli.commands.models.run", lambda options: [].pop())
    assert main(["models"]) == 1
    assert capsys.readouterr().err.startswith("error: unexpected error: IndexError: pop from")


def test_out_of_memory_is_reported(capsys, monkeypatch):
    def run(options):
        raise MemoryError

    monkeypatch.setattr("soundloom.cli.commands.models.run", run)
    assert main(["models"]) == 1
    assert capsys.readouterr().err == "error: out of memory\n"


def test_untrusted_text_cannot_control_the_terminal_or_forge_messages():
    error = DownloadError("a\x1b[31m\x07\nerror: forged\u009b1m", "b\r\x1b]0;title\x07\nhint: forged")
    lines = error_text(error).splitlines()
    assert lines == [
        "error: a\\x1b[31m\\x07",
        "  error: forged\\x9b1m",
        "hint: b\\r\\x1b]0;title\\x07",
        "  hint: forged",
    ]
    assert one_message("a\x85\u2028b\nerror: c") == "a\\x85\\u2028b\n  error: c"
    assert escaped("ok: ü 音 🎵\n\t") == "ok: ü 音 🎵\n\t"
    assert error_text(RequestError("short")) == "error: short"
    assert error_text(OSError(2, "No such file", "a\nb")) == "error: No such file: a\n  b"


def test_warnings_are_escaped(capsys):
    from soundloom.cli.terminal.logs import warnings_to_stderr

    with warnings_to_stderr():
        logging.getLogger("soundloom.test").warning("%s", "a\x1b[2J\nerror: forged")
    assert capsys.readouterr().err == "warning: a\\x1b[2J\n  error: forged\n"


def test_results_are_escaped_only_in_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((io.StringIO(), "a\x1b[2J\n"), (Terminal(), "a\\x1b[2J\n")):
        monkeypatch.setattr(sys, "stdout", stream)
        print_results(["a\x1b[2J"])
        assert stream.getvalue() == shown
