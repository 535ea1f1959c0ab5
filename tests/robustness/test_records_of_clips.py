"""Odd values in the records of clips, which come from files: save, sign, slice, join and show such clips."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.audio.disclosure import source_type_uri
from soundloom.errors import SoundloomError
from tests.robustness.mutators.media import ODD_VALUES

RECORD = {
    "mode": "vary",
    "model": "mini",
    "seed": 1,
    "request": {"prompt": "rain"},
    "source": {"name": "a.wav", "sha256": "0", "mode": "vary"},
    "trim": [0, 1],
    "parts": [{"mode": "generate", "digital_source_type": "trainedAlgorithmicMedia"}],
}
VALUES = (*ODD_VALUES, "\udcff", "\0", float("inf"))
PLACES = [("mode",), ("model",), ("seed",), ("request",), ("source",), ("source", "name"), ("source", "sha256")]
PLACES += [("source", "mode"), ("source", "digital_source_type"), ("trim",), ("parts",), ("parts", 0)]


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDLOOM_CONFIG", str(tmp_path / "settings"))


def odd_clips(place):
    for number, value in enumerate(VALUES):
        record = {**copy.deepcopy(RECORD), "mode": ("vary", "trim", "join")[number % 3]}
        if record["mode"] != "join" and place[0] != "parts":
            del record["parts"]
        inner = record
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        yield Clip(np.zeros((1, 400), np.float32), 8000, record)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_odd_values(place, tmp_path):
    pytest.importorskip("c2pa")
    for number, clip in enumerate(odd_clips(place)):
        assert source_type_uri(clip.record) is None or source_type_uri(clip.record).startswith("http://cv.iptc.org/")
        if number % 9 == 0:
            assert "<audio" in clip._repr_html_()
        (clip[0.01:0.02] + clip)[0.01:].record.get("parts")
        try:
            clip.save(tmp_path / "a.wav", c2pa=True)
        except SoundloomError as error:
            assert str(error).count("\n") <= 1
