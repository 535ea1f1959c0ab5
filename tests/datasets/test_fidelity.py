import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from soundloom.datasets.encoding import encode_dataset
from soundloom.datasets.examples import Selection
from soundloom.datasets.fidelity import COMPARED_CLIPS, Codec, fidelity_warning
from soundloom.datasets.folders import Folder
from soundloom.datasets.latents import LatentFolderWriter
from soundloom.errors import EngineError

RATE = 44100
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)


def codec(gain: float, encoded_seconds: list | None = None) -> Codec:
    """A codec whose latents are the audio itself, decoded with a gain."""

    def encode(clip):
        if encoded_seconds is not None:
            encoded_seconds.append(clip.seconds)
        return clip.audio

    return Codec(encode, RATE, 1, "f", lambda latents, samples: gain * latents[:, :samples])


@pytest.mark.parametrize(("decibels", "warns"), [(0, False), (-3, False), (-6, True)])
def test_reconstruction_is_compared_with_the_sound(decibels, warns):
    difference = codec(10 ** (decibels / 20)).difference(NOISE, RATE)
    assert difference == pytest.approx(-decibels, abs=0.05)
    warning = fidelity_warning("mini", [difference])
    assert bool(warning) == warns
    assert not warns or "it differs by 6.0 dB" in warning


def test_only_the_start_is_compared_at_any_rate_and_channel_count():
    encoded_seconds: list[float] = []
    assert codec(1.0, encoded_seconds).difference(np.tile(NOISE[:1], 20), 2 * RATE) == pytest.approx(0, abs=0.01)
    assert encoded_seconds == [4.0]


def test_no_warning_for_silence_or_without_a_decoder():
    assert math.isnan(codec(0.5).difference(0 * NOISE, RATE))
    assert math.isnan(Codec(lambda clip: clip.audio, RATE, 1, "f").difference(NOISE, RATE))
    assert fidelity_warning("mini", [math.nan]) == ""


def test_warning_about_several_sounds_states_the_median():
    warning = fidelity_warning("mini", [1.0, 5.0, 9.0, math.nan])
    assert "reconstruct these sounds well: decoded, they differ by 5.0 dB (median log-mel difference of 3;" in warning


def test_sounds_that_cannot_be_encoded_are_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", np.full((5, 10), 0.5), RATE)  # more channels than samples
    for name in "bc":
        soundfile.write(tmp_path / f"in/{name}.wav", NOISE[:, :20_000].T, RATE)

    def decode(latents, samples):
        raise EngineError("out of memory")

    def encode(codec):
        return encode_dataset(Folder(tmp_path / "in"), LatentFolderWriter(tmp_path / "out"), codec, Selection())

    failing = encode(replace(codec(1.0), decode=decode))
    assert (failing.encoded, [entry.reason for entry in failing.skipped][1:]) == (0, ["out of memory"] * 2)
    summary = encode(codec(1.0))
    assert (summary.encoded, [entry.origin for entry in summary.skipped]) == (2, ["a.wav"])
    assert "looks like (samples, channels)" in summary.skipped[0].reason


def test_only_the_first_sounds_of_a_dataset_are_compared(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(COMPARED_CLIPS + 2):
        soundfile.write(tmp_path / "in" / f"{number}.wav", NOISE[:, :20_000].T, RATE)
    summary = encode_dataset(Folder(tmp_path / "in"), LatentFolderWriter(tmp_path / "out"), codec(0.5), Selection())
    assert summary.encoded == COMPARED_CLIPS + 2
    assert summary.differences == pytest.approx([6.02] * COMPARED_CLIPS, abs=0.05)
