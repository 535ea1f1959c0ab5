"""Every flag is declared once, and old spellings still parse."""

import ast
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

import soundloom.cli
from soundloom.cli.commands import every_command, load_command, resolve
from soundloom.cli.commands.completion import flags_of
from soundloom.cli.options.flags import parse
from soundloom.cli.options.old_spellings import with_current_spellings

OLD_SPELLINGS = [
    (["generate", "rain", "--accept-licence"], ["generate", "rain", "--accept-license"]),
    (["models", "pull", "mini", "--accept-licence"], ["models", "pull", "mini", "--accept-license"]),
    (["generate", "rain", "--bits", "float"], ["generate", "rain", "--subtype", "float"]),
    (["decode", "x.npy", "--bits", "16"], ["decode", "x.npy", "--subtype", "16"]),
    (["convert", "mini", "out", "--bits", "4"], ["convert", "mini", "out", "--layout", "int4"]),
    (["convert", "a", "b", "--bits=4", "--group=32"], ["convert", "a", "b", "--layout=int4", "--group-size=32"]),
    (["quantize", "mini", "out", "--group", "32"], ["quantize", "mini", "out", "--group-size", "32"]),
    (["trim", "x.wav", "--from", "1", "--to", "4"], ["trim", "x.wav", "--start", "1", "--end", "4"]),
    (["eval", "mini", "--dit-dtype", "fp16"], ["eval", "mini", "--precision", "fp16"]),
    (["bench", "--work", "x"], ["bench", "--weights", "x"]),
    (["bench", "--json", "x.json"], ["bench", "--save", "x.json"]),
    (["eval", "mini", "--json=x.json"], ["eval", "mini", "--save=x.json"]),
]
OUR_TRAINER = ["lora train", "clips", "--model", "medium-base", "--out", "x"]
OTHER_TRAINERS = [
    (
        ["--data_dir", "clips", "--adapter_type", "dora", "--lora_alpha", "8", "--base_precision=bfloat16"],
        ["--type", "dora-rows", "--alpha", "8", "--precision", "bf16"],
    ),
    (["--encoded_dir=clips", "--duration", "380", "--num_workers", "8"], ["--crop-seconds", "380"]),
    (["--latents-dir", "clips", "--max-steps", "9", "--random-crop"], ["--steps", "9"]),
    (["clips", "--lora-scope", "full", "--lr-scheduler", "inverse_lr"], ["--scope", "full", "--schedule", "inverse"]),
    (["clips", "--timestep-sampler", "trunc_logit_normal", "--seconds", "crop"], ["--seconds-total", "crop"]),
    (["clips", "--include", "ff,layers[0-3]", "--include", "attn"], ["--include", "ff", "layers[0-3]", "attn"]),
]


def declared_spellings():
    """Yield each visible flag that the source passes to `flag` or `switch`, directly or through `partial`."""
    for path in Path(soundloom.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("flag", "switch", "partial"):
                values = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                yield from (value for value in values if str(value).startswith("-"))


def parsed(arguments):
    command, rest = resolve(with_current_spellings(arguments))
    return parse(load_command(command).Options, rest, f"soundloom {command}")


def test_no_flag_is_declared_twice():
    counts = Counter(declared_spellings())
    assert {"--json", "--engine", "--seconds", "--bits"} <= set(counts)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("command", every_command())
def test_every_flag_of_a_command_is_found_in_the_source(command):
    names = {name for field in fields(load_command(command).Options) for name in field.metadata["names"]}
    assert names <= set(declared_spellings())


@pytest.mark.parametrize(("old", "current"), OLD_SPELLINGS, ids=lambda arguments: " ".join(arguments))
def test_old_spellings_parse(old, current):
    assert parsed(old) == parsed(current)


@pytest.mark.parametrize("old", [old for old, _ in OLD_SPELLINGS], ids=" ".join)
def test_old_spellings_are_neither_in_the_help_nor_completed(old, capsys):
    command = old[0]
    parsed([command, "--help"])
    text = capsys.readouterr().out
    completed = {name for flag in flags_of(command) for name in flag.names}
    hidden = {name for field in fields(load_command(command).Options) for name in field.metadata["hidden"]}
    assert hidden.isdisjoint(completed)
    assert not any(f"{name} " in text or f"{name}," in text for name in hidden)


def test_json_is_a_switch_everywhere():
    assert parsed(["eval", "--json", "mini"]).json is True
    assert parsed(["bench", "--json"]).save is None


@pytest.mark.parametrize(("theirs", "ours"), OTHER_TRAINERS, ids=lambda arguments: " ".join(arguments))
def test_spellings_of_other_trainers_parse(theirs, ours):
    _, *rest = with_current_spellings(["lora", "train", *theirs, "--model", "medium-base", "--save_dir", "x"])
    command, *here = OUR_TRAINER
    options = load_command(command).Options
    assert parse(options, rest[1:], "") == parse(options, [*here, *ours], "")
