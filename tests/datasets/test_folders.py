import numpy as np
import pytest

from soundloom.datasets.examples import Selection, Skipped, read_examples, shuffled
from soundloom.datasets.folders import Folder
from soundloom.errors import ConfigError, RequestError


def read(root, selection=None):
    skipped: list[Skipped] = []
    examples = {example.origin: example for example in read_examples(Folder(root), selection, skipped.append)}
    return examples, skipped


def test_sound_files_at_any_depth_are_read_with_captions(sounds):
    items, _ = read(sounds)
    assert list(items) == ["bell.wav", "loops/kick.flac", "plain.ogg"]
    assert items["bell.wav"].captions == ("a bell", "a ringing bell")
    assert items["loops/kick.flac"].captions == ("a kick loop",)
    assert items["loops/kick.flac"].metadata["bpm"] == 120
    assert items["plain.ogg"].captions == ()


def test_examples_have_the_rate_and_length_of_the_file(sounds):
    kick = read(sounds)[0]["loops/kick.flac"]
    assert (kick.sample_rate, kick.audio.shape, kick.seconds) == (48000, (1, 14400), 0.3)


def test_unreadable_files_are_reported_and_skipped(sounds):
    (sounds / "loops/kick.json").write_text("{broken")
    items, skipped = read(sounds)
    assert list(items) == ["bell.wav", "plain.ogg"]
    assert [one.origin for one in skipped] == ["broken.mp3", "loops/kick.flac"]
    assert "cannot be read as audio" in skipped[0].reason
    assert "kick.json is not valid JSON" in skipped[1].reason


def test_fingerprint_depends_on_the_sound_but_not_on_captions(sounds):
    bell = next(Folder(sounds).entries())
    before = bell.fingerprint()
    (sounds / "bell.txt").write_text("something else")
    assert bell.fingerprint() == before
    (sounds / "bell.wav").write_bytes((sounds / "plain.ogg").read_bytes())
    assert bell.fingerprint() != before


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(captioned=True), ["bell.wav", "loops/kick.flac"]),
        (Selection(min_seconds=0.25), ["loops/kick.flac"]),
        (Selection(max_seconds=0.25, exclude=("plain*",)), ["bell.wav"]),
        (Selection(include=("loops/*",)), ["loops/kick.flac"]),
        (Selection(min_peak_db=-3), []),
        (Selection(where={"bpm": ("120", "90")}), ["loops/kick.flac"]),
        (Selection(where_not={"prompt": ("A KICK LOOP",)}), ["bell.wav", "plain.ogg"]),
    ],
)
def test_selection_filters_examples(sounds, selection, taken):
    assert list(read(sounds, selection)[0]) == taken


def test_rejected_examples_are_reported_with_the_reason(sounds):
    _, skipped = read(sounds, Selection(include=("plain*",), captioned=True))
    assert skipped == [Skipped("plain.ogg", "has no caption")]


def test_empty_length_range_raises():
    with pytest.raises(ConfigError, match="min_seconds 3 and max_seconds 2"):
        Selection(min_seconds=3, max_seconds=2)


def test_missing_folder_raises(tmp_path):
    with pytest.raises(RequestError, match="no folder"):
        Folder(tmp_path / "absent")


def test_shuffle_buffer_reorders_and_loses_nothing():
    order = list(shuffled(range(100), 20, np.random.default_rng(0)))
    assert sorted(order) == list(range(100))
    assert order != list(range(100))
    assert all(number - index <= 20 for index, number in enumerate(order))  # no item comes before it was read
