"""How takes can be made again elsewhere: each recipe is run, and its clip is that of the take."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.serving.jobs.resolve import KnownModel
from soundloom.serving.recipes import recipe
from soundloom.serving.storage.rows import Artifact, Take
from soundloom.serving.storage.takes import add_take
from tests.serving.http.test_jobs import submit

RAIN = {"prompt": "light rain on the left", "seconds": 1.2, "seed": 7}
EDITS = {
    "vary": {"prompt": "pink noise", "noise": 0.4, "seed": 3},
    "inpaint": {"prompt": "pink noise", "regions": [[0.25, 0.5], [0.8, 1.0]], "crossfade": 0.02, "seed": 3},
    "extend": {"prompt": "rain", "seconds": 1.7, "seed": 3},
    "loop": {"prompt": "rain", "seam": 0.25, "seed": 3},
}
JOBS = {
    "generate": {"kind": "generate", "request": RAIN},
    "settings": {"kind": "generate", "request": RAIN | {"steps": 4, "sampler": "euler", "prompt_b": "a siren"}},
    "loop of words": {"kind": "generate", "request": {"prompt": "@ rain", "bars": 1, "bpm": 150.0, "loop": True}},
    **{kind: {"kind": kind, "request": request} for kind, request in EDITS.items()},
    "both ends": {"kind": "extend", "request": {"prompt": "rain", "seconds": 1.9, "offset": 0.3, "seed": 3}},
    "before": {"kind": "extend", "request": {"prompt": "rain", "seconds": 1.5, "offset": 0.3, "seed": 3}},
}


def take_of(client, job):
    job = submit(client, job, Prefer="wait=60").json()
    assert job["state"] == "succeeded", job
    return job["items"][0]["take"]


@pytest.fixture(scope="module")
def source(served):
    return take_of(served[0], JOBS["generate"])


def run(arguments, folder):
    result = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "200"}
    )
    assert result.returncode == 0, result.stderr
    (file,) = folder.glob("*.wav")
    return Clip.load(file)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_copy_as_command_line_runs_and_gives_the_same_audio(served, source, tmp_path, name):
    client, server = served
    job = JOBS[name] if JOBS[name]["kind"] == "generate" else JOBS[name] | {"source": source}
    take = take_of(client, job)
    found = client.get(f"/v1/takes/{take}/recipe").json()
    stored = Clip.load(server.store.path(client.get(f"/v1/takes/{take}").json()["audio"]["id"]))
    words = shlex.split(found["command"])
    assert words[0] == "soundloom"
    assert ("--like" in words) == (name == "both ends")
    for kind, arguments in {
        "command": [sys.executable, "-m", *words],
        "python": [sys.executable, "-c", found["python"]],
    }.items():
        (tmp_path / kind).mkdir()
        clip = run(arguments, tmp_path / kind)
        np.testing.assert_allclose(clip.audio, stored.audio, atol=1e-5)
    again = client.get(f"/v1/takes/{take_of(client, found['job'])}").json()
    assert again["audio"]["id"] == client.get(f"/v1/takes/{take}").json()["audio"]["id"]


def test_a_recipe_is_short(client, source):
    found = client.get(f"/v1/takes/{source}/recipe").json()
    assert found["command"] == (
        "soundloom generate 'light rain on the left' --model mini --seconds 1.2 --seed 7 --subtype float "
        "-o light-rain-on-the-left-7.wav"
    )
    assert found["python"].splitlines()[3] == 'clip = model.generate("light rain on the left", seconds=1.2, seed=7)'
    assert found["job"] == {"kind": "generate", "model": "mini", "request": RAIN}


def test_settings_of_other_models_and_adapters_are_written():
    """Without running them: their weights are not here."""
    artifact = Artifact("0" * 64, 1, 44100, 2, 44100, "PCM_24", "", 0.0)
    request = {"prompt": "-house", "seed": 1, "seconds": 4.0, "guidance": {"scale": 5.0, "apg": 0.5}, "steps": 30}
    uses = [{"name": "my style", "strength": 0.7, "sigma": [0.2, 1.0], "sha256": "0"}]
    record = {"mode": "generate", "request": request | {"negative_prompt": "hum", "loras": {"uses": uses}}}
    take = Take("id", artifact, record, "", "generate", "", 0.0)
    found = recipe(take, KnownModel.open("small-music-base", {}), "a.wav", "", 0, precision="bf16", name="a b")
    assert found.command == (
        "soundloom generate --prompt=-house --model small-music-base --cfg 5 --apg 0.5 --seed 1 --seconds 4 --steps 30 "
        "--negative-prompt hum --lora 'my style=0.7' sigma=0.2..1 --precision bf16 --subtype 24 -o 'a b.wav'"
    )
    assert "from_record" in found.python and compile(found.python, "recipe", "exec")
    assert found.job["loras"] == uses and "loras" not in found.job["request"]


def test_what_no_model_made_has_no_recipe(served):
    client, server = served
    artifact = Artifact("1" * 64, 1, 44100, 2, 44100, "PCM_24", "", 0.0)
    take = server.database.run(lambda connection: add_take(connection, artifact, {}, "upload", "tests")).result()
    refused = client.get(f"/v1/takes/{take.id}/recipe")
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "this take was not made by a model, so it cannot be made again",
    )
