"""Run every fenced block of README.md and docs/, unless it says why it cannot run.

Tiny random models replace those that are downloads, and tiny recipes those that train for hours; nothing else differs
from what a reader types.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import soundloom
from soundloom.checkpoints.formats.safetensors import read_safetensors
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.cli import main as cli
from soundloom.cli.commands import every_command, resolve
from soundloom.config.musicgen.model import published_musicgen
from soundloom.config.parse import parse
from soundloom.evaluation.embedders.external import ExternalConfig
from soundloom.evaluation.reports.gates import GateFile
from soundloom.lora.files.read import read_adapter
from soundloom.lora.files.write import write_adapter
from soundloom.lora.modules import base_weights
from soundloom.pipeline.load import load
from soundloom.pipeline.stable_audio.options import GenerateKwargs
from soundloom.testing.adapters import make_adapter
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from soundloom.testing.stable_audio import make_random
from soundloom.training.config import AutoencoderConfig, DataConfig
from tests.docs.pages import COMMANDS, DATA, PAGES, REASONS, RESEARCH, ROOT, Block, blocks, code_spans, inline_commands
from tests.training.tiny_recipe import CONFIGS, SHORT_LOOP, write_recipe

RATE = 44100
SHELL = re.compile(r"[|<>&;]|\*")  # needs a shell
SLOW = {
    "docs/cli.md",
    "docs/evaluation.md",
    "docs/lora.md",
    "docs/musicgen.md",
    "docs/python.md",
    "docs/training.md",
    "README.md",
}
TUTORIAL = ROOT / "docs" / "lora-tutorial.md"
# Commands of README's table that are incomplete, or run for minutes.
INCOMPLETE = {
    "soundloom bench",
    "soundloom convert",
    "soundloom encode --dataset",
    "soundloom eval set SOUNDS --reference REAL",
    "soundloom quantize",
    "soundloom serve",
    "soundloom studio",
    "soundloom train STAGE RECIPE",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


ALL = [block for page in PAGES for block in blocks(page)]
TOML = [
    block
    for page in (*PAGES, *RESEARCH)
    for block in blocks(page)
    if block.language == "toml" and "[provenance]" not in block.text
]
RUN = [block for block in ALL if block.reason is None and block.language not in DATA]
RUN_PAGES = [
    pytest.param(page, marks=[pytest.mark.slow] if name_of(page) in SLOW else [], id=name_of(page))
    for page in dict.fromkeys(block.page for block in RUN)
    if page != TUTORIAL
]


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory) -> dict[str, str]:
    """Map names of downloads to folders of tiny models."""
    folder = tmp_path_factory.mktemp("stand-ins")
    editor, small = published_musicgen("large", instruct=True), published_musicgen("small")
    folders = {
        "small-music": make_random("small-music", folder / "small-music", layout="published", size="tiny"),
        "small-music-base": make_random("small-music-base", folder / "base", layout="published", size="tiny"),
        "instruct-musicgen": make_musicgen(tiny_musicgen(editor), folder / "editor"),
        "musicgen-small": make_musicgen(tiny_musicgen(small), folder / "composer"),
    }
    return {name: str(path) for name, path in (folders | {"musicgen-large": folders["musicgen-small"]}).items()}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the audio files and recipes that the pages name, without a network, a cache or settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / ".settings"))
    monkeypatch.setattr("secrets.randbelow", random.Random(0).randrange)  # reproducible default seeds
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a command used the network"))
    player = tmp_path / ".bin" / "pw-play"  # the first player soundloom looks for; the machine may have none
    player.parent.mkdir()
    player.write_text("#!/bin/sh\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(player.parent), prepend=os.pathsep)
    (tmp_path / "prompts.txt").write_text("# quiet ones\nrain\na bell\n")
    for name in ("in.wav", "take.wav", "song.wav", "a.wav", "b.flac"):
        write_sound(tmp_path / name)
    write_library(tmp_path / "sounds")
    write_library(tmp_path / "real")
    write_adapters(tmp_path)
    write_recipe(tmp_path / "configs" / "mini", CONFIGS)
    write_recipe(tmp_path / "configs" / "instruct", {"instruct": INSTRUCT})
    fine_tuned = {"data": {"source": "folder", "path": "../sounds"}, "dit": CONFIGS["dit"]}
    write_recipe(tmp_path / "recipe", fine_tuned)
    return tmp_path


INSTRUCT = {"batch_size": 2, "seconds": 0.5, "stems": "bands", "adapter": {"max_frames": 50, "lora_rank": 2}} | {
    "loop": SHORT_LOOP
}


def write_sound(path: Path, seconds: float = 4.0) -> None:
    """Write a plucked tone on each beat of 120 BPM, in stereo."""
    times = np.arange(round(seconds * RATE)) / RATE
    wave = 0.4 * np.sin(2 * np.pi * 220 * times) * np.exp(-8 * (times % 0.5))
    soundfile.write(path, np.stack([wave, 0.8 * wave], axis=1), RATE, subtype="PCM_16")


def write_library(folder: Path) -> None:
    folder.mkdir()
    for number, genre in enumerate(("house", "techno")):
        write_sound(folder / f"{genre}.wav", 1.0 + 0.2 * number)
        (folder / f"{genre}.json").write_text(json.dumps({"prompt": f"a {genre} pluck", "genre": genre}))


def write_adapters(folder: Path) -> None:
    """Write adapters of `mini`, one of them as the published trainer does."""
    weights = base_weights(open_checkpoint("mini"))
    for seed, name in enumerate(("style", "warm", "lofi")):
        shapes = {name: weight.shape for name, weight in weights.items()}
        adapter = make_adapter(shapes, "dora-rows", seed, size=0.02, weights=weights)
        write_adapter(folder / f"{name}.safetensors", adapter)
    saved = folder / "style.safetensors"
    state = {name: torch.from_numpy(tensor.numpy()) for name, tensor in read_safetensors(saved).items()}
    torch.save({"state_dict": state, "lora_config": read_adapter(saved).config}, folder / "style.ckpt")


class Reader:
    """Run the blocks of a page in order, in one folder and one Python namespace."""

    def __init__(self, folder: Path, stand_ins: dict[str, str]) -> None:
        self.folder, self.stand_ins, self.namespace = folder, stand_ins, {"__name__": "__main__"}

    def execute(self, block: Block) -> None:
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.text  # so that a traceback has the page's line
            exec(compile(code, str(block.page), "exec"), self.namespace)
        for command in block.commands:
            self.type(command.text, str(block))
            for name in command.outputs:
                assert (self.folder / name).is_file(), f"{block}: {command.text} wrote no {name}"

    def type(self, text: str, where: str) -> None:
        if SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", text)):
            done = subprocess.run(["bash", "-euc", text], cwd=self.folder, capture_output=True, text=True)
            code, stderr = done.returncode, done.stderr
        else:
            program, *arguments = shlex.split(text)
            assert program == "soundloom", f"{where}: {program} cannot run here; mark the block"
            code, stderr = cli.main(self.with_stand_ins(arguments)), ""
        assert code == 0, f"{where}: {text} exits {code}\n{stderr}"

    def with_stand_ins(self, arguments: list[str]) -> list[str]:
        """Replace names of downloads by their stand-ins, and train on the CPU."""
        command = arguments[:1]
        default = ["--model", "instruct-musicgen"] if command == ["edit"] and "--model" not in arguments else []
        on_cpu = ["--device", "cpu"] if command == ["train"] and arguments[1] != "export" else []
        return [self.stand_ins.get(argument, argument) for argument in (*arguments, *default, *on_cpu)]


@pytest.fixture
def reader(folder, stand_ins, monkeypatch) -> Reader:
    monkeypatch.setitem(
        vars(soundloom), "load", lambda source="mini", **options: load(stand_ins.get(source, source), **options)
    )
    return Reader(folder, stand_ins)


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_runs_or_says_why_not(block):
    assert block.language in COMMANDS | DATA | {"python"}, "unknown language of a block"
    if block.reason is not None:
        assert block.reason in REASONS
        assert block.language not in DATA, "data blocks need no reason"


def test_failing_commands_are_reported(reader):
    reader.type("soundloom --version | grep soundloom", "a page")
    for text, message in {
        "soundloom generat rain": "a page: soundloom generat rain exits 2",
        "soundloom generat rain > rain.txt": "exits 2\n *error: there is no command",
        "make test": "mark the block",
    }.items():
        with pytest.raises(AssertionError, match=message):
            reader.type(text, "a page")
    wrote_nothing = Block(ROOT / "README.md", 1, "", "soundloom --version   # bell.wav", None)
    with pytest.raises(AssertionError, match=r"wrote no bell\.wav"):
        reader.execute(wrote_nothing)


@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_blocks_of_a_page_run(reader, page):
    for block in blocks(page):
        if block in RUN:
            reader.execute(block)


@pytest.mark.slow
def test_the_tutorial_of_adapters_measures_about_what_it_shows(reader, capsys):
    shown = measured = 0
    for block in blocks(TUTORIAL):
        if block in RUN:
            capsys.readouterr()
            reader.execute(block)
            printed = capsys.readouterr().out
        elif ".wav  " in block.text:
            levels = [[int(number) for number in re.findall(r"-\d+", text)] for text in (block.text, printed)]
            assert len(levels[0]) == len(levels[1])
            assert np.abs(np.subtract(*levels)).max() <= 6, printed  # dB; another machine rounds differently
            shown, measured = shown + 1, measured + len(levels[0])
    assert (shown, measured) == (3, 18)


@pytest.mark.parametrize("block", TOML, ids=str)
def test_examples_of_recipes_are_read_strictly(block, tmp_path):
    table = tomllib.loads(block.text)
    if "gate" in table:
        (tmp_path / "gates.toml").write_text(block.text)
        assert GateFile.read(tmp_path / "gates.toml").rules
        return
    if "python" in table:
        assert parse(ExternalConfig, table)
        return
    assert parse(DataConfig, table) if "source" in table else parse(AutoencoderConfig, CONFIGS["autoencoder"] | table)


def test_every_mark_is_above_a_block():
    for page in PAGES:
        marks = page.read_text(encoding="utf-8").count("<!-- not run:")
        assert marks == sum(block.reason is not None for block in blocks(page)), page


@pytest.mark.slow
def test_the_commands_of_the_readme_table_work(reader):
    replace(soundloom.Clip.load("in.wav"), record={"mode": "generate", "model": "mini", "seed": 1}).save("out.wav")
    for command in table_commands():
        if command not in INCOMPLETE:
            reader.type(command, "README.md")


def table_commands() -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("\n## Features\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| [")]
    return [span for row in rows for span in re.findall(r"`(soundloom [^`]+)`", row)]


def test_the_table_of_the_readme_names_commands():
    assert len(table_commands()) > 10
    assert set(table_commands()) >= INCOMPLETE


def named_commands() -> list[str]:
    """Return all commands of soundloom on any page, run or not."""
    fenced = [command.text for block in ALL for command in block.commands]
    inline = [command for page in PAGES for command in inline_commands(page)]
    return sorted({text for text in (*fenced, *inline) if text.startswith("soundloom ")})


def flags_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    assert cli.main([*command.split(), "--help"]) == 0
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", capsys.readouterr().out)) | {"--help"}


@pytest.mark.parametrize("text", named_commands())
def test_named_commands_and_flags_exist(text, capsys):
    _, *arguments = shlex.split(text)
    assert arguments[0] in cli.COMMANDS
    command, arguments = resolve(arguments)
    assert flags_in(arguments) <= flags_of(command, capsys)


def test_flags_named_alone_exist(capsys):
    known = set().union(*(flags_of(command, capsys) for command in every_command()))
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', script.read_text(encoding="utf-8")))
    for page in PAGES:
        for span in code_spans(page):
            if span.startswith("--"):
                assert flags_in(span.split()) <= known, f"{page}: {span}"


def flags_in(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def test_the_options_of_docs_python_are_those_of_generate():
    table = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").partition("| option |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(GenerateKwargs.__annotations__)
