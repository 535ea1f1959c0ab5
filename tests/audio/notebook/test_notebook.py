"""What notebooks show of a clip: HTML without a network, and plots."""

from __future__ import annotations

import base64
import itertools
import logging
import re
import sys
import xml.etree.ElementTree as ElementTree
from io import BytesIO

import numpy as np
import pytest
import soundfile

from soundloom.audio.blocks import as_stream
from soundloom.audio.clip import Clip
from soundloom.audio.notebook import html
from soundloom.audio.notebook.plot import spectrogram
from soundloom.audio.notebook.waveform import envelope
from soundloom.audio.streamed_clip import StreamedClip
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render
from soundloom.errors import AudioError, RequestError

RATE = 44100


def tone(seconds=0.5, hertz=1000.0, rate=RATE, channels=2, record=None):
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Clip(np.stack([wave] * channels).astype(np.float32), rate, record or {})


def parsed(clip):
    """Return the HTML as a tree; it is well-formed XML too."""
    return ElementTree.fromstring(clip._repr_html_().replace("<audio controls ", '<audio controls="" '))


def player(tree):
    source = tree.find("audio").get("src")
    assert source.startswith("data:audio/mpeg;base64,")
    return soundfile.read(BytesIO(base64.b64decode(source.partition(",")[2])), always_2d=True)


def test_a_clip_is_shown_with_picture_and_player():
    tree = parsed(tone(record={"prompt": "a bell", "model": "mini", "seed": 7}))
    assert [part.text for part in tree.iter("b")] == ["a bell"]
    assert "0.50 s · stereo · 44100 Hz · model mini · seed 7" in [part.text for part in tree.iter("div")]
    assert len(tree.findall(".//{*}path")) == 2
    audio, rate = player(tree)
    assert (rate, audio.shape[1]) == (RATE, 2)
    assert abs(len(audio) / rate - 0.5) < 0.1


def test_nothing_is_loaded_from_elsewhere():
    page = tone()._repr_html_()
    links = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert links and all(link.startswith("data:") for link in links)
    assert re.findall(r"https?://[^\"]*", page) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in page


def test_markup_in_prompts_is_escaped():
    evil = '</b><script>alert("x")</script><img src=x onerror=alert(1)> & "quotes"'
    clip = tone(record={"prompt": evil, "model": "<i>m</i>", "seed": '"><script>'})
    tree = parsed(clip)
    assert tree.find(".//b").text == evil
    assert not {"script", "img", "i"} & {part.tag for part in tree.iter()}
    assert len(html.clip_html(tone(record={"prompt": "x" * 10**6}))) < 100_000


def test_long_clips_have_a_preview_of_bounded_size(tmp_path, monkeypatch):
    assert html.PREVIEW_SECONDS == 30
    monkeypatch.setattr(html, "PREVIEW_SECONDS", 2.0)
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (2, RATE * 3)).astype(np.float32)
    clip = Clip(noise, RATE)
    page = clip._repr_html_()
    assert len(page) < 1_600_000 * 2 / 30
    assert "preview: the player has the first 2 s" in page
    assert abs(len(player(parsed(clip))[0]) / RATE - 2) < 0.1
    assert "preview" not in tone()._repr_html_()
    path = clip.save(tmp_path / "a.wav", subtype="FLOAT")
    assert StreamedClip.open(path)._repr_html_() == page


def test_drums_take_no_more_room_than_documented():
    drums = render(Labels("drum loop", "house", bpm=122, material="acoustic"), 3.0, np.random.default_rng(0))
    page = Clip(drums, SAMPLE_RATE)._repr_html_()
    assert len(page) < 1_600_000 * 3 / 30


@pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (96000, 2), (22050, 1), (44100, 6), (192000, 9)])
def test_rates_and_channels_that_mp3_lacks(rate, channels):
    audio, played = player(parsed(tone(rate=rate, channels=channels)))
    assert played == (rate if rate == 22050 else RATE)
    assert audio.shape[1] == min(2, channels)


def test_odd_clips_are_shown_too(caplog):
    with caplog.at_level(logging.WARNING):
        loud = Clip(tone().audio * 20, RATE)
        assert np.abs(player(parsed(loud))[0]).max() < 1.1
    assert caplog.text == ""  # it is only shown, not saved
    assert "no samples" in tone()[1:1]._repr_html_()
    assert "not finite" in Clip(np.full((1, 500), np.nan, np.float32), RATE)._repr_html_()
    assert parsed(Clip(np.zeros((1, 1), np.float32), RATE)).find("audio") is not None


def test_the_envelope_has_the_extremes_of_each_column():
    audio = np.random.default_rng(1).normal(size=(3, 200_003)).astype(np.float32)
    low, high = envelope(as_stream(audio), 600)
    edges = [*(np.arange(600) * 200_003 // 600), 200_003]
    assert np.array_equal(low, np.stack([audio[:, a:b].min(1) for a, b in itertools.pairwise(edges)], 1))
    assert np.array_equal(high, np.stack([audio[:, a:b].max(1) for a, b in itertools.pairwise(edges)], 1))
    assert envelope(as_stream(audio[:, :5]), 600)[0].shape == (3, 5)


@pytest.mark.parametrize("hertz", [60.0, 440.0, 5000.0])
def test_the_spectrogram_has_the_tone_where_it_is(hertz):
    levels, edges = spectrogram(tone(hertz=hertz))
    loudest = np.median(levels.argmax(axis=0)).astype(int)
    assert edges[loudest] / 1.15 < hertz < edges[loudest + 1] * 1.15
    assert levels.max() == 0 and levels.min() >= -80.001


def test_silence_and_clicks_have_spectrograms():
    assert (spectrogram(Clip(np.zeros((1, 9000), np.float32), RATE))[0] == -80).all()
    assert np.isfinite(spectrogram(Clip(np.ones((1, 1), np.float32), 4000))[0]).all()


def test_a_plot_is_a_figure_that_notebooks_show():
    pytest.importorskip("matplotlib")
    figure = tone(record={"prompt": r"cost $5 \frac and $x_"}).plot()
    above, below, *_ = figure.axes
    assert above.get_title() == r"cost $5 \frac and $x_"
    assert below.get_yscale() == "log"
    assert above.get_xlim() == (0, 0.5)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_plot_of_a_file_reads_it_once(tmp_path):
    pytest.importorskip("matplotlib")
    path = tone(2.0).save(tmp_path / "a.mp3")
    assert StreamedClip.open(path).plot().axes[0].get_xlim() == (0, StreamedClip.open(path).seconds)


def test_plots_say_what_they_need(monkeypatch):
    pytest.importorskip("matplotlib")
    with pytest.raises(AudioError, match="a clip without samples cannot be plotted"):
        tone()[1:1].plot()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        RequestError, match=r"matplotlib, which is not installed\nhint: pip install 'soundloom\[plot\]'"
    ):
        tone().plot()
