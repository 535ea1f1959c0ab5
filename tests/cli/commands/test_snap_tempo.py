import json
import sys

import numpy as np
import pytest

from soundloom import Clip
from soundloom.datasets.synthetic import SAMPLE_RATE, Labels, render

pytest.importorskip("python_stretch", reason="python-stretch is not installed")


@pytest.fixture
def plays_a_loop(monkeypatch):
    """Let the model generate a drum loop at 122 BPM."""
    from soundloom.pipeline.stable_audio.model import Model

    audio = render(Labels("drum loop", "house", bpm=122, material="acoustic"), 4.0, np.random.default_rng(0))
    execute = Model.execute

    def replaced(self, *arguments, **options):
        for index, clip in execute(self, *arguments, **options):
            yield index, Clip(audio, SAMPLE_RATE, clip.record)

    monkeypatch.setattr(Model, "execute", replaced)


def test_the_saved_clip_has_the_tempo(make, plays_a_loop):
    done = json.loads(make("generate", "a loop", "--snap-tempo", "120", "-o", "a.wav", "--json", "--keep-bad").out)
    (facts,) = done["clips"]
    assert facts["snap_tempo"]["measured"] == pytest.approx(122, rel=0.005)
    clip = Clip.load("a.wav")
    assert clip.measure().tempo == pytest.approx(120, rel=0.005)
    assert clip.seconds == facts["seconds"] == pytest.approx(4 * 122 / 120, rel=0.005)
    assert clip.record["snap_tempo"] == facts["snap_tempo"]


def test_a_clip_that_cannot_be_snapped_is_saved_with_a_warning(make, plays_a_loop):
    done = make("generate", "a loop", "--snap-tempo", "100", "-o", "a.wav", "--json", "--keep-bad")
    (warning,) = [text for text in json.loads(done.out)["clips"][0]["warnings"] if "snap" in text]
    assert "--snap-tempo left the clip as it is: the tempo is 12" in warning and warning in done.err
    assert Clip.load("a.wav").seconds == 4


@pytest.mark.parametrize("bpm", ["0", "-5", "nan", "inf", "1e9"])
def test_tempos_out_of_range_are_refused_before_the_model_is_loaded(make, bpm):
    done = make("generate", "a loop", f"--snap-tempo={bpm}")
    assert done.code == 2 and not done.out
    assert "--snap-tempo must be a number from 20 to 400 BPM" in done.err


@pytest.mark.parametrize("bpm", ["fast", "", "120,130", "१२x"])
def test_texts_are_refused(make, bpm):
    done = make("generate", "a loop", f"--snap-tempo={bpm}")
    assert done.code == 2 and not done.out
    assert "argument --snap-tempo: invalid float value" in done.err


def test_without_the_library_nothing_is_generated(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_stretch", None)
    done = make("generate", "a loop", "--snap-tempo", "120")
    assert done.code == 2 and not done.out
    assert "soundloom[stretch]" in done.err


def test_a_residual_is_not_of_a_stretched_result(soundloom, tmp_path):
    (tmp_path / "a.wav").touch()
    failed = soundloom("edit", "a.wav", "Only drums", "--residual", "--snap-tempo", "120")
    assert failed.code == 2 and "would move the result against its source" in failed.err
