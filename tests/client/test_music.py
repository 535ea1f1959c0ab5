"""The client with a MusicGen editor that a server has under a name of its own."""

from __future__ import annotations

import numpy as np

import soundloom
from soundloom import Client, Clip
from soundloom.config.musicgen.model import published_musicgen
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from tests.serving.http.conftest import TOKEN, running


def test_edits_by_instruction_are_those_of_a_local_model(tmp_path):
    config = tiny_musicgen(published_musicgen("large", instruct=True))
    folder = make_musicgen(config, tmp_path / "editor")
    source = Clip(np.random.default_rng(1).uniform(-0.5, 0.5, (2, 24_000)), 48_000)
    local = soundloom.load(folder, engine="torch", device="cpu", threads=1)
    expected = local.edit(source, "Only drums", seed=7)
    served = running(tmp_path / "data", sources={"editor": str(folder)})
    with served as (http, _), Client(str(http.base_url), TOKEN) as client:
        edited = client.edit(source, "Only drums", seed=7, model="editor")
        both = client.edit(edited, ["Only drums", "No bass"], seed=7, model="editor")
    assert (edited.audio == expected.audio).all() and edited.sample_rate == 48_000
    assert edited.record["understood"] == expected.record["understood"]
    assert [clip.record["seed"] for clip in both] == [7, 8]
