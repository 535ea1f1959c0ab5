"""The codec of `mini` on rendered music: figures hear what it loses, and every distance sees it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.midi import MISSING, has_soundfont
from benchmarks.music_set import write_music
from soundloom.audio.clip import Clip
from soundloom.evaluation.codec.report import CodecConfig, evaluate_codec
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.manifest import read_set
from soundloom.evaluation.sets.report import Measuring
from soundloom.pipeline.load import load_stable_audio

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not has_soundfont(), reason=MISSING)]


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Pieces at one level; the last one is silent."""
    folder = tmp_path_factory.mktemp("music")
    write_music(folder, 12)
    Clip(np.zeros((2, 44100), np.float32), 44100).save(folder / "silent.wav")
    return read_set(folder)


@pytest.fixture(scope="module")
def report(music, tmp_path_factory):
    embedder, recipe = load_embedder("log-mel"), find_recipe("soundloom", "log-mel")
    model = load_stable_audio("mini", keep_loaded=True, keep_bad=True)
    folder = tmp_path_factory.mktemp("decoded")
    return evaluate_codec(model, music, folder, CodecConfig(seconds=5.0), Measuring(embedder, recipe))


@pytest.fixture(scope="module")
def figures(report):
    return {metric.name: metric for metric in report.metrics}


def test_music_is_not_what_mini_was_trained_on(figures):
    """On its own sounds the log-mel difference is 3.2 dB."""
    low, high = figures["codec/log_mel"].interval
    assert 3.2 < low < figures["codec/log_mel"].value < high < 12
    assert figures["codec/transients"].value < 0.9
    assert figures["codec/side_si_sdr"].value < figures["codec/mid_si_sdr"].value


def test_decoding_is_exact_and_silence_stays_silent(figures):
    for name in ("chunked_difference", "missing_samples", "silence_peak"):
        assert figures[f"codec/{name}"].passed, name


def test_the_ceiling_is_a_distance_that_is_not_chance(figures):
    """KAD is unbiased, so its interval excludes 0 only where the codec is heard."""
    assert figures["kad/log-mel/soundloom"].interval[0] > 0
    assert figures["fad/log-mel/soundloom"].value > figures["fad_bias/log-mel/soundloom"].value


def test_every_clip_is_in_the_report(report, figures):
    assert len(report.clips) == 13
    assert figures["codec/failures"].value == pytest.approx(1 / 13)
    assert [clip.prompt for clip in report.clips if "bass" in clip.prompt]
    assert next(clip for clip in report.clips if clip.id == "silent.wav").failures == ("silent",)
