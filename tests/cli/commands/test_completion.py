"""Run the completion scripts in their shells."""

import shutil
import subprocess

import pytest

from soundloom.cli.commands import COMMANDS


def complete(script, shell, *words):
    """Return what a shell offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); _soundloom"
    code = f'{script}\n{asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([shell, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def bash():
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    from soundloom.cli.commands.completion import bash

    return lambda *words: complete(bash(), "bash", *words)


def test_bash_completes_commands(bash):
    assert set(bash("soundloom", "")) >= set(COMMANDS)
    assert bash("soundloom", "gen") == ["generate"]


def test_bash_completes_the_flags_of_each_command(bash):
    assert "--seconds" in bash("soundloom", "generate", "--se")
    assert bash("soundloom", "extend", "--bef") == ["--before"]
    assert bash("soundloom", "show", "--bef") == []
    assert "--no-overwrite" in bash("soundloom", "generate", "rain", "--no-")
    assert all("--help" in bash("soundloom", command, "--") for command in COMMANDS)


def test_bash_completes_choices_and_names_of_models(bash):
    assert bash("soundloom", "generate", "--precision", "fp") == ["fp32", "fp16", "fp8"]
    assert bash("soundloom", "generate", "rain", "--model", "small-m") == ["small-music", "small-music-base"]
    assert bash("soundloom", "models", "ve") == ["verify"]
    assert "distill" in bash("soundloom", "train", "d")


def test_bash_completes_actions_and_their_flags(bash):
    assert bash("soundloom", "lora", "res") == ["resize"]
    assert bash("soundloom", "lora", "resize", "--ke") == ["--keep"]
    assert bash("soundloom", "lora", "info", "--ke") == []
    assert "sv_fro" in bash("soundloom", "lora", "resize", "--measure", "sv")


def test_bash_leaves_files_to_the_shell(bash):
    assert bash("soundloom", "vary", "so") == []
    assert bash("soundloom", "generate", "-o", "--x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_valid_in_its_shell(soundloom, tmp_path, shell):
    done = soundloom("completion", shell)
    assert done.code == 0
    assert "--crossfade" in done.out or "-l crossfade" in done.out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed, so nothing can be said of its script")
    (tmp_path / "script").write_text(done.out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(soundloom, tmp_path):
    (tmp_path / "script").write_text(soundloom("completion", "fish").out)
    code = f"source {tmp_path / 'script'}; complete -C 'soundloom generate --precision fp'"
    assert "fp32" in subprocess.run(["fish", "-c", code], capture_output=True, text=True, check=True).stdout


def test_unknown_shells_are_rejected(soundloom):
    refused = soundloom("completion", "csh")
    assert refused.code == 2
    assert "there is no completion for 'csh'\nhint: shells: bash, zsh, fish" in refused.err
