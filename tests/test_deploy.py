"""The files of deployment, as far as they can be checked without installing anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from soundloom.cli.commands.serve import Options
from soundloom.cli.options.flags import parse

ROOT = Path(__file__).resolve().parents[1]
SERVICE, DOCKERFILE = ROOT / "deploy" / "soundloom.service", ROOT / "deploy" / "Dockerfile"
INSTRUCTIONS = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}


def instructions():
    """Return (instruction, arguments) of the Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    return [tuple(line.strip().split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "soundloom.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", SERVICE.read_text(encoding="utf-8"), flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", "--user", unit], capture_output=True, text=True, check=False)
    assert "soundloom.service" not in done.stderr, done.stderr


def test_the_unit_starts_the_command_that_exists():
    (command,) = re.findall(r"^ExecStart=(.*)$", SERVICE.read_text(encoding="utf-8"), re.M)
    program, serve, *flags = command.split()
    assert program.endswith("/bin/soundloom") and serve == "serve"
    assert parse(Options, flags, "soundloom serve") is not None


def test_the_image_copies_files_that_exist_and_starts_a_command_that_exists():
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    for name, arguments in found:
        if name == "COPY":
            assert all((ROOT / source).exists() for source in arguments.split()[:-1]), arguments
    (entry,) = [json.loads(arguments) for name, arguments in found if name == "ENTRYPOINT"]
    assert entry[:2] == ["soundloom", "serve"]
    assert parse(Options, entry[2:], "soundloom serve") is not None
    names = [name for name, _ in found]
    assert names.index("USER") < names.index("ENTRYPOINT")  # it does not run as root
