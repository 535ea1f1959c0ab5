"""Sounds are read ahead of the embedder: results do not depend on how many, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from soundloom.evaluation import embedding
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.embedding import embed_sounds
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.items import OpenSound, SoundItem

RECIPE = find_recipe("soundloom", "log-mel")


@pytest.fixture
def items(tmp_path, noise):
    lengths = (0.3, 5.0, 1.0, 2.6, 0.7, 3.0)
    for number, seconds in enumerate(lengths):
        noise(tmp_path / f"{number}.wav", seconds, (8000, 44100)[number % 2], number, 1 + number % 2)
    return [SoundItem(str(number), tmp_path / f"{number}.wav") for number in range(len(lengths))]


def test_results_do_not_depend_on_threads_and_limits(items, monkeypatch):
    embedder = load_embedder("log-mel")
    found = []
    for threads, size in ((1, 1), (3, 1), (3, 1 << 30), (16, 1 << 30)):
        monkeypatch.setattr(embedding, "count_cores", lambda threads=threads: SimpleNamespace(usable=threads))
        monkeypatch.setattr(embedding, "DECODED_BYTES", size)
        monkeypatch.setattr(embedding, "free_memory", lambda: 0)
        found.append(embed_sounds(items, embedder, RECIPE))
    for other in found[1:]:
        assert np.array_equal(other.vectors, found[0].vectors) and other.ids == found[0].ids
        assert np.array_equal(other.clips, found[0].clips)


@pytest.mark.parametrize(("sounds", "most"), [(1, 1), (3, 3)])
def test_few_long_sounds_are_held_at_once(items, monkeypatch, sounds, most):
    """Those that are read, but not yet embedded."""
    long = [SoundItem(str(number), items[1].path) for number in range(20)]
    started = []
    monkeypatch.setattr(embedding, "count_cores", lambda: SimpleNamespace(usable=4))
    monkeypatch.setattr(embedding, "DECODED_BYTES", sounds * long[0].decoded_bytes())
    monkeypatch.setattr(embedding, "free_memory", lambda: None)
    monkeypatch.setattr(embedding, "_load", lambda item, *_: started.append(item))
    held = []
    for done, _ in enumerate(embedding._loaded(long, load_embedder("log-mel"), RECIPE, None)):
        held.append(len(started) - done)
    assert len(held) == 20 and max(held) <= most


class Loudest:
    """Embeds a window as its largest sample, or as what is not a number where that is beyond a limit."""

    info = EmbedderInfo("loudest", 8000, 8000, 1, "0")

    def __init__(self, limit: float = np.inf) -> None:
        self.limit = limit

    def embed(self, windows):
        peaks = np.abs(windows).max(axis=1, keepdims=True)
        return np.where(peaks > self.limit, np.nan, peaks).astype(np.float32)


def test_overlapping_windows_of_a_long_sound_are_not_held_at_once(tmp_path, noise):
    size = noise(tmp_path / "long.wav", 120).nbytes
    recipe = replace(RECIPE, window=1.0, hop=0.02, tail="every hop")
    tracemalloc.start()
    try:
        found = embed_sounds([SoundItem("long", tmp_path / "long.wav")], Loudest(), recipe)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.vectors) == 6000  # 50 times the sound
    assert peak < 8 * size


def test_a_sound_whose_embedding_is_not_finite_is_a_failure(items):
    recipe = replace(RECIPE, level="none")
    quiet = embed_sounds(items, Loudest(), recipe)
    limit = float(np.sort(quiet.clip_means()[:, 0])[-2])
    found = embed_sounds(items, Loudest(limit), recipe)
    assert found.failures and all(faults == ("its embedding is not finite",) for faults in found.failures.values())
    assert set(found.ids) | set(found.failures) == set(quiet.ids)
    assert np.isfinite(found.vectors).all()


def test_a_wrong_length_in_the_header_is_no_matter(items, monkeypatch):
    whole = items[1].read()[0]
    real = OpenSound.__init__
    for claimed in (0, 1000, 10**6):

        def init(self, *arguments, claimed=claimed):
            real(self, *arguments)
            self.claimed = claimed

        monkeypatch.setattr(OpenSound, "__init__", init)
        assert np.array_equal(items[1].read()[0], whole)


def test_the_size_of_a_sound_is_that_of_its_cut(items, tmp_path):
    assert items[1].decoded_bytes() == items[1].read()[0].nbytes
    assert SoundItem("x", items[1].path, start=1, end=2).decoded_bytes() == 2 * 4 * 44100
    assert SoundItem("x", tmp_path / "lost.wav").decoded_bytes() == 0
    soundfile.write(tmp_path / "short.flac", np.zeros(100), 8000)
    assert SoundItem("x", tmp_path / "short.flac", start=5).decoded_bytes() == 0
