import numpy as np
import pytest

from soundloom.datasets.folders import Folder
from soundloom.datasets.items import Selection, Skipped, read_items, shuffled
from soundloom.errors import ConfigError, RequestError


def read(root, selection=None):
    skipped: list[Skipped] = []
    items = {item.origin: item for item in read_items(Folder(root), selection, skipped.append)}
    return items, skipped


def test_sounds_at_any_depth_come_with_their_captions(sounds):
    items, _ = read(sounds)
    assert list(items) == ["bell.wav", "loops/kick.flac", "plain.ogg"]
    assert items["bell.wav"].captions == ("a bell", "a ringing bell")
    assert items["loops/kick.flac"].captions == ("a kick loop",)
    assert items["loops/kick.flac"].metadata["bpm"] == 120
    assert items["plain.ogg"].captions == ()


def test_items_keep_rate_and_length(sounds):
    kick = read(sounds)[0]["loops/kick.flac"]
    assert (kick.sample_rate, kick.audio.shape, kick.seconds) == (48000, (1, 14400), 0.3)


def test_what_cannot_be_read_is_reported_and_skipped(sounds):
    (sounds / "loops/kick.json").write_text("{broken")
    items, skipped = read(sounds)
    assert list(items) == ["bell.wav", "plain.ogg"]
    assert [one.origin for one in skipped] == ["broken.mp3", "loops/kick.flac"]
    assert "cannot be read as sound" in skipped[0].reason
    assert "kick.json is not JSON" in skipped[1].reason


def test_a_fingerprint_follows_the_sound_and_not_its_captions(sounds):
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
        (Selection(shortest=0.25), ["loops/kick.flac"]),
        (Selection(longest=0.25, without=("plain*",)), ["bell.wav"]),
        (Selection(only=("loops/*",)), ["loops/kick.flac"]),
        (Selection(quietest=-3), []),
        (Selection(where={"bpm": ("120", "90")}), ["loops/kick.flac"]),
        (Selection(unless={"prompt": ("A KICK LOOP",)}), ["bell.wav", "plain.ogg"]),
    ],
)
def test_a_selection_is_data(sounds, selection, taken):
    assert list(read(sounds, selection)[0]) == taken


def test_refused_items_are_reported_with_the_reason(sounds):
    _, skipped = read(sounds, Selection(only=("plain*",), captioned=True))
    assert skipped == [Skipped("plain.ogg", "has no caption")]


def test_an_impossible_selection():
    with pytest.raises(ConfigError, match="cannot last from 3 to 2 s"):
        Selection(shortest=3, longest=2)


def test_no_folder(tmp_path):
    with pytest.raises(RequestError, match="no folder"):
        Folder(tmp_path / "absent")


def test_a_buffer_mixes_and_loses_nothing():
    mixed = list(shuffled(range(100), 20, np.random.default_rng(0)))
    assert sorted(mixed) == list(range(100))
    assert mixed != list(range(100))
    assert all(number - place <= 20 for place, number in enumerate(mixed))  # nothing comes before it was read
