"""Codecs over sets of sounds: `mini`, the codec of MusicGen, and faulty ones."""

from __future__ import annotations

import numpy as np
import pytest

from soundloom.audio.clip import Clip
from soundloom.config.musicgen.model import published_musicgen
from soundloom.datasets.synthetic import Labels, render
from soundloom.errors import RequestError
from soundloom.evaluation.codec import report as codec_report
from soundloom.evaluation.codec.report import CodecConfig, decoded_files, evaluate_codec
from soundloom.evaluation.codec.round_trip import RoundTrip, codec_of
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.recipes import find_recipe
from soundloom.evaluation.sets.manifest import read_set
from soundloom.evaluation.sets.report import Measuring
from soundloom.pipeline.load import load_stable_audio

RATE = 44100


@pytest.fixture(scope="module")
def mini():
    return load_stable_audio("mini", keep_loaded=True, keep_bad=True)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for name, hz in (("low é", 110.0), ("middle", 220.0), ("high", 440.0), ("mono", 330.0)):
        audio = render(Labels("tone", "triangle", hz=hz), 1.0, np.random.default_rng(0))
        Clip(audio[:1] if name == "mono" else audio, RATE).save(folder / f"{name}.wav")
    Clip(np.zeros((2, RATE), np.float32), RATE).save(folder / "silent.wav")
    (folder / "broken.wav").write_bytes(b"RIFF")
    return read_set(folder)


class FaultyCodec:
    """Return each clip after a change."""

    rate, latent_rate = RATE, 21.5

    def __init__(self, change):
        self.change = change

    def run(self, clip):
        return RoundTrip(clip, Clip(self.change(clip.audio), RATE), np.zeros((1, 1)))

    def chunked_difference(self, codes):
        return 0.01


def measured(monkeypatch, mini, sounds, folder, change):
    monkeypatch.setattr(codec_report, "codec_of", lambda model: FaultyCodec(change))
    embedder, recipe = load_embedder("log-mel"), find_recipe("soundloom", "log-mel")
    found = evaluate_codec(mini, sounds, folder, CodecConfig(), Measuring(embedder, recipe))
    return {metric.name: metric for metric in found.metrics}, found


def test_mini_over_a_set(mini, sounds, tmp_path):
    found = evaluate_codec(mini, sounds, tmp_path, CodecConfig(seconds=0.7))
    metrics = {metric.name: metric for metric in found.metrics}
    assert metrics["codec/log_mel"].value < 10 and metrics["codec/log_mel"].count == 4
    assert metrics["codec/chunked_difference"].passed and metrics["codec/missing_samples"].passed
    assert metrics["codec/silence_peak"].passed
    assert metrics["codec/failures"].value == pytest.approx(2 / 6)
    failures = {clip.id: clip.failures for clip in found.clips}
    assert failures["silent.wav"] == ("silent",) and failures["broken.wav"] and not failures["low é.wav"]
    usable = {(clip.id, None) for clip in found.clips if clip.figures}
    paths = decoded_files(found, tmp_path)
    assert set(paths) == usable and len(paths) == 4
    assert Clip.load(paths["low é.wav", None]).samples == round(0.7 * RATE)


def test_an_exact_codec_has_distance_0(mini, sounds, tmp_path, monkeypatch):
    metrics, _ = measured(monkeypatch, mini, sounds, tmp_path, lambda audio: audio)
    assert metrics["fad/log-mel/soundloom"].value == pytest.approx(0, abs=1e-9)
    assert metrics["codec/log_mel"].value == 0
    assert metrics["codec/silence_peak"].value == codec_report.LOWEST
    assert metrics["codec/chunked_difference"].passed is False


def test_a_codec_that_hums_in_silence_and_adds_noise_is_found(mini, sounds, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).normal(0, 0.02, (2, 3 * RATE)).astype(np.float32)
    metrics, _ = measured(
        monkeypatch, mini, sounds, tmp_path, lambda audio: audio + noise[: len(audio), : audio.shape[1]]
    )
    assert metrics["codec/silence_peak"].passed is False
    assert metrics["fad/log-mel/soundloom"].value > 1


def test_silent_results_and_cuts_are_found(mini, sounds, tmp_path, monkeypatch):
    metrics, found = measured(monkeypatch, mini, sounds, tmp_path / "a", lambda audio: 0 * audio)
    assert metrics["codec/failures"].value == 1
    assert found.clips[0].failures and "fad/log-mel/soundloom" not in metrics
    metrics, _ = measured(monkeypatch, mini, sounds, tmp_path / "b", lambda audio: audio[:, : -round(0.3 * RATE)])
    assert metrics["codec/missing_samples"].value == 13230 and metrics["codec/missing_samples"].passed is False


def test_the_codec_of_musicgen(tmp_path, sounds):
    from soundloom.pipeline.load import load_music
    from soundloom.testing.musicgen import make_musicgen, tiny_musicgen

    model = load_music(make_musicgen(tiny_musicgen(published_musicgen("small")), tmp_path / "model"))
    assert codec_of(model).latent_rate == model.config.frame_rate
    found = evaluate_codec(model, sounds, tmp_path / "out", CodecConfig(seconds=0.5, clips=4))
    names = {metric.name for metric in found.metrics}
    assert "codec/log_mel" in names
    assert "codec/side_snr" not in names and "codec/chunked_difference" not in names


@pytest.mark.parametrize("values", [{"seconds": 0.0}, {"seconds": float("nan")}, {"clips": 0}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(RequestError):
        CodecConfig(**values)


def test_other_sounds_with_equal_names_are_another_manifest(sounds, tmp_path):
    same, other = (tmp_path / name for name in ("same", "other"))
    for folder, gain in ((same, 1.0), (other, 0.5)):
        folder.mkdir()
        for item in sounds.items:
            if item.path.name != "broken.wav":
                clip = Clip.load(item.path)
                Clip(clip.audio * gain, RATE).save(folder / item.path.name)
        (folder / "broken.wav").write_bytes(b"RIFF")
    folders = (same, same, other)
    found = [codec_report._manifest(read_set(one).items, CodecConfig()) for one in folders]
    assert found[0] == found[1] != found[2]
