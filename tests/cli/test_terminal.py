"""The command in its own process: terminal, Ctrl-C, and imports."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from soundloom.config.catalogue import CATALOGUE
from tests.cli.conftest import files_in

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
COMMAND = (sys.executable, "-m", "soundloom")
PATIENCE = 120.0  # seconds; a busy machine takes long to start Python
HEAVY = {"torch", "mlx", "numpy", "soundfile", "rich", "huggingface_hub", "sentencepiece"}


class Terminal:
    """Process with stdin and stderr in a terminal, and stdout in a pipe, as in `x=$(soundloom)`."""

    def __init__(self, *command, **environment):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stderr=slave,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
            # Whoever runs the tests in the background has switched Ctrl-C off, which is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            text=True,
        )
        os.close(slave)
        self.seen = ""

    def wait_for(self, pattern):
        """Read what is shown until it matches."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"{pattern!r} was not shown: {self.seen!r}"
            self._read()

    def _read(self):
        ready, _, _ = select.select([self.master], [], [], 0.2)
        try:
            self.seen += os.read(self.master, 65536).decode(errors="replace") if ready else ""
        except OSError:  # the other end is closed
            assert self.process.poll() is not None or self.process.wait(PATIENCE) is not None

    def type(self, text):
        self.seen = ""
        os.write(self.master, text.encode())

    def end(self):
        """Return the exit code and what went to stdout."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
        out = self.process.communicate(timeout=PATIENCE)[0]
        os.close(self.master)
        return self.process.returncode, out


@pytest.fixture
def cache(tmp_path, tiny_model_folder):
    """Return a download cache that contains small-sfx."""
    folder, entry = tmp_path / ".settings" / "hub", CATALOGUE["small-sfx"]
    name = f"models--{entry.repo.replace('/', '--')}/snapshots/{entry.revision}{'0' * 32}"
    shutil.copytree(tiny_model_folder, folder / name)
    return folder


def test_without_arguments_a_terminal_asks_for_model_and_prompt(cache, tmp_path):
    terminal = Terminal(*COMMAND, HF_HUB_CACHE=str(cache))
    names = [entry.name for entry in CATALOGUE.values() if entry.kind == "generator" and entry.public]
    terminal.wait_for("".join(rf"(?=[\s\S]*\b{name} +up to)" for name in names))
    names.sort(key=lambda name: terminal.seen.index(f" {name} "))
    assert names.index("small-sfx") <= 1, "an installed model comes before those that need a download"
    terminal.type("\x1b[A" + "\x1b[B" * (names.index("small-sfx") + 1))
    terminal.wait_for("> small-sfx .* installed")
    terminal.type("\r")
    terminal.wait_for("What do you want to generate")
    terminal.type("a door\n")
    code, out = terminal.end()
    assert code == 0, terminal.seen
    assert re.fullmatch(r"a-door-\d+\.wav\n", out)
    assert files_in(tmp_path) == [out.strip()]


def test_quitting_the_menu_generates_nothing(tmp_path):
    terminal = Terminal(*COMMAND)
    terminal.wait_for("> .*\n")
    terminal.type("q")
    assert terminal.end() == (130, "")
    assert files_in(tmp_path) == []


def test_without_arguments_or_terminal_an_example_is_suggested():
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'soundloom generate "kick drum loop, 129 BPM"' in done.stderr


def test_ctrl_c_during_sampling_leaves_nothing(tmp_path, tiny_model_folder):
    flags = ("--model", str(tiny_model_folder), "--seconds", "1", "--steps", "10000", "-o", "x.wav", "--sidecar")
    terminal = Terminal(*COMMAND, "generate", "rain", *flags)
    terminal.wait_for("sample")
    terminal.process.send_signal(signal.SIGINT)
    code, out = terminal.end()
    assert (code, out) == (130, "")
    assert "interrupted; no unfinished files remain" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert files_in(tmp_path) == []


def test_progress_goes_to_the_terminal_and_paths_to_stdout(tmp_path, tiny_model_folder):
    flags = ("--model", str(tiny_model_folder), "--seconds", "0.1", "--steps", "1", "--count", "18", "-o", "x.wav")
    terminal = Terminal(*COMMAND, "generate", "rain", *flags)
    terminal.wait_for("clip 1 of 18")
    terminal.wait_for("clip 17 of 18")
    code, out = terminal.end()
    assert (code, out.splitlines()) == (0, [f"x_{i:02}.wav" for i in range(18)])
    assert "times real time" in terminal.seen


def test_words_without_quotes_are_confirmed(tmp_path, tiny_model_folder):
    flags = ("--model", str(tiny_model_folder), "--seconds", "0.1", "--steps", "1", "--seed", "7", "--quiet")
    terminal = Terminal(*COMMAND, "generate", "kick", "drum", "loop", *flags)
    terminal.wait_for('3 words without quotes. Generate one clip of "kick drum loop"')
    terminal.type("\n")
    assert terminal.end() == (0, "kick-drum-loop-7.wav\n")


@pytest.mark.parametrize("arguments", [("models", "show", "small-music"), ("--help",)])
def test_a_closed_pipe_is_not_an_error(arguments):
    read, write = os.pipe()
    os.close(read)  # before the command starts, which may otherwise be done first
    process = subprocess.Popen([*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "unwanted"), [(["--help"], HEAVY), (["generate", "--help"], {"torch", "mlx", "huggingface_hub"})]
)
def test_help_imports_no_heavy_modules(arguments, unwanted):
    code = f"""
import sys
from soundloom.cli.main import main
assert main({arguments}) == 0
print(sorted({unwanted} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_and_usage(soundloom):
    from soundloom import __version__
    from soundloom.cli.commands import COMMANDS

    assert soundloom("--version").out == f"soundloom {__version__}\n"
    assert all(f"\n  {name} " in soundloom("--help").out for name in COMMANDS)
