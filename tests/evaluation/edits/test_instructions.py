from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from soundloom.config.musicgen.model import published_musicgen
from soundloom.errors import RequestError
from soundloom.evaluation.edits.embedding import SpanEmbedder
from soundloom.evaluation.edits.evaluate_music import InstructionConfig, evaluate_instructions
from soundloom.evaluation.edits.instruction_metrics import InstructionScorer, instruction_metrics, precision_differences
from soundloom.evaluation.edits.instructions import (
    INSTRUCTIONS,
    InstructionResult,
    captions,
    plan_instructions,
    true_edit,
)
from soundloom.evaluation.edits.sources import Source, Sources, rendered_music
from soundloom.evaluation.embedders.base import EmbedderInfo
from soundloom.evaluation.embedders.clap import open_embedder
from soundloom.evaluation.embedders.load import load_embedder
from soundloom.evaluation.recipes import find_recipe
from soundloom.pipeline.load import load_music
from soundloom.testing.musicgen import make_musicgen, tiny_musicgen
from tests.training.objectives.test_clap import write_clap

INSTRUMENTS = ("Drums", "Bass", "Piano", "Guitar")
RATE = 16000


def source(caption, **options):
    return Source("ü", np.zeros((1, RATE), np.float32), RATE, caption, **options)


@pytest.mark.parametrize(
    ("instruction", "caption", "before", "after", "may_be_silent"),
    [
        ("Only drums", "Drums and a bass", "music with drums and bass", "music with drums", False),
        ("Remove the drums", "drum loop, piano", "music with drums and piano", "music with piano", False),
        ("Add guitar", "piano", "music with piano", "music with piano and guitar", False),
        ("No piano", "a piano", "music with piano", "silence", True),
        ("Only piano", "drums", "music with drums", "music with piano", True),
        ("Remove drums", "", "music with drums, bass, piano and guitar", "music with bass, piano and guitar", False),
        ("make it faster", "bass", "music with bass", "make it faster", False),
    ],
)
def test_target_captions_name_what_must_be_heard(instruction, caption, before, after, may_be_silent):
    found = captions(instruction, source(caption), INSTRUMENTS)
    assert (found.source, found.target, found.may_be_silent) == (before, after, may_be_silent)


def test_the_truth_is_known_where_stems_are():
    one = rendered_music(1, 1.0).sounds[0]
    assert np.array_equal(true_edit("Only drums", one, INSTRUMENTS), one.stems["Drums"])
    rest = true_edit("Remove drums", one, INSTRUMENTS)
    assert rest == pytest.approx(sum(stem for name, stem in one.stems.items() if name != "Drums"), abs=1e-6)
    assert true_edit("Add drums", one, INSTRUMENTS) is None
    assert true_edit("Only piano", one, INSTRUMENTS) is None


class ToneEmbedder:
    """Places sounds and texts by what they name: the level below 300 Hz is bass, that above drums."""

    info = EmbedderInfo("tones", RATE, RATE, 2, "hash")

    def embed(self, windows):
        spectra = np.abs(np.fft.rfft(windows)) ** 2
        low = spectra[:, np.fft.rfftfreq(windows.shape[1], 1 / RATE) < 300].sum(axis=1)
        return np.sqrt(np.stack([low, spectra.sum(axis=1) - low], axis=1)).astype(np.float32)

    def embed_text(self, texts):
        rows = np.array([["bass" in text.lower(), "drums" in text.lower()] for text in texts], np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class ToneTagger(ToneEmbedder):
    """Also names bass and drums, by their shares of the power."""

    info = EmbedderInfo("tagger", RATE, RATE, 2, "hash", labels=("bass", "drums"))
    embed_text = None

    def classify(self, windows):
        power = self.embed(windows) ** 2
        return 10 * power / power.sum(axis=1, keepdims=True) - 5


@pytest.fixture
def tones():
    times = np.arange(RATE) / RATE
    bass, drums = (0.3 * np.sin(2 * np.pi * f * times)[None].astype(np.float32) for f in (100, 2000))
    return bass, drums


@pytest.fixture
def scorer():
    embed = SpanEmbedder(ToneEmbedder(), find_recipe("seed-clap", "tones"))
    return InstructionScorer(embed, INSTRUMENTS, lambda audio, rate: audio)


def result(audio):
    return InstructionResult(audio, (np.zeros((4, 50), int),))


def test_obeying_raises_the_delta_and_disobeying_does_not(tones, scorer):
    bass, drums = tones
    mix = Source("mix", bass + drums, RATE, "drums and bass", {"Drums": drums, "Bass": bass})
    edits = {edit.instruction: edit for edit in plan_instructions([mix], INSTRUCTIONS, (1,))}
    obeyed = scorer.score(edits["Remove drums"], result(bass)).figures
    disobeyed = scorer.score(edits["Remove drums"], result(drums)).figures
    assert obeyed["edit/delta"] > 0.2 > -0.2 > disobeyed["edit/delta"]
    assert obeyed["edit/directional"] == pytest.approx(1, abs=0.01)
    assert obeyed["stems/si_sdr"] > 40 > 0 > disobeyed["stems/si_sdr"]
    # The published figure rewards the edit that left the drums in.
    assert obeyed["edit/instruction"] < 0.1 < 0.9 < disobeyed["edit/instruction"]
    unchanged = scorer.score(edits["Only bass"], result(mix.audio)).figures
    assert unchanged["edit/kept"] == pytest.approx(1)
    assert unchanged["edit/delta"] == pytest.approx(0, abs=1e-6)
    assert unchanged["stems/si_sdr_improvement"] == 0


def test_a_tagger_hears_whether_instruments_went_or_stayed(tones):
    bass, drums = tones
    tagger = InstructionScorer(
        SpanEmbedder(ToneTagger(), find_recipe("soundloom", "tones")), INSTRUMENTS, lambda a, _: a
    )
    mix = Source("mix", bass + drums, RATE, "drums and bass")
    remove, only, piano = plan_instructions([mix], ("Remove drums", "Only drums", "Only piano"), (1,))
    assert tagger.score(remove, result(bass)).figures["edit/tag"] > 0.4
    assert tagger.score(remove, result(drums)).figures["edit/tag"] < -0.4
    assert tagger.score(only, result(drums)).figures["edit/tag"] > 0.4
    assert "edit/tag" not in tagger.score(piano, result(bass)).figures
    assert "edit/tag" not in tagger.score(only, result(0 * drums)).figures


def test_silence_is_a_failure_unless_nothing_should_remain(tones, scorer):
    bass, _ = tones
    edits = plan_instructions([Source("b", bass, RATE, "bass")], ("Only bass", "Remove bass"), (1,))
    silence = result(0 * bass)
    assert [scorer.score(edit, silence).failures for edit in edits] == [("silent",), ()]


def test_a_worse_precision_is_told_from_an_equal_one(tones, scorer):
    bass, drums = tones
    mix = Source("mix", bass + drums, RATE, "drums and bass")
    edits = plan_instructions([mix], ("Remove drums",), range(1, 13))
    rng = np.random.default_rng(0)
    leaks = rng.uniform(0.1, 0.4, len(edits))
    good = [
        scorer.score(edit, result(bass + np.float32(leak) * drums)) for edit, leak in zip(edits, leaks, strict=True)
    ]
    equal = [
        scorer.score(edit, result(bass + np.float32(leak + 1e-4) * drums))
        for edit, leak in zip(edits, leaks, strict=True)
    ]
    worse = [
        scorer.score(edit, result(bass + np.float32(leak + 0.3) * drums))
        for edit, leak in zip(edits, leaks, strict=True)
    ]
    verdicts = [
        {one.figure: one for one in precision_differences("fp16", "int4", edits, good, other)}["edit/delta"]
        for other in (equal, worse)
    ]
    assert [one.verdict for one in verdicts] == ["same", "worse"]
    assert verdicts[0].count == 12
    assert "seeds of each source" in verdicts[0].method
    metrics = {m.name: m for m in instruction_metrics("fp16", edits, good, "r" * 64, "e" * 64)}
    assert metrics["edit/delta/fp16/Remove drums"].value == metrics["edit/delta/fp16"].value


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("editor")
    return make_musicgen(tiny_musicgen(published_musicgen("large", instruct=True)), folder)


def evaluate(folder, embedder, precisions, seeds=1):
    recipe = find_recipe("soundloom", embedder.info.name)
    sounds = Sources("music", rendered_music(1, 0.3).sounds, {})
    config = InstructionConfig(precisions, ("Only drums", "Remove bass"), seeds)
    load = {
        name: load_music(folder, precision="fp32" if name == "copy" else name, keep_loaded=True, keep_bad=True)
        for name in ("fp32", *precisions)
    }
    return evaluate_instructions(lambda name: nullcontext(load[name]), sounds, config, SpanEmbedder(embedder, recipe))


def test_precisions_of_an_editor_are_compared_on_equal_noise(editor):
    report = evaluate(editor, ToneEmbedder(), ("copy", "int8"), seeds=2)
    values = {metric.name: metric.value for metric in report.metrics}
    assert values["precision/copy/equal_tokens"] == 1
    assert values["precision/copy/sound_snr"] == 200
    assert values["precision/copy/logits_cosine/10"] == pytest.approx(1)
    assert 0.9 < values["precision/int8/logits_cosine/10"] < 1
    assert values["precision/int8/sound_snr"] < 200
    assert {one.subject for one in report.comparison} == {"int8 against copy"}
    assert len({(clip.id, clip.seed) for clip in report.clips}) == len(report.clips) == 8
    assert values["edit/instruction/int8-copy"] == pytest.approx(
        values["edit/instruction/int8"] - values["edit/instruction/copy"]
    )
    assert report.notes == ()


@pytest.mark.slow
def test_clap_scores_instructions_and_target_captions(editor, tmp_path):
    """With random weights: scores exist, and lie between those of the texts."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    clap = open_embedder("tiny", write_clap(tmp_path / "clap"), device="cpu")
    report = evaluate(editor, clap, ("fp32",), seeds=2)
    values = {metric.name: metric.value for metric in report.metrics}
    for name in ("instruction", "target", "before", "directional", "kept"):
        assert -1 <= values[f"edit/{name}/fp32"] <= 1
    assert values["edit/delta/fp32"] == pytest.approx(values["edit/target/fp32"] - values["edit/before/fp32"])
    both = [values[f"edit/instruction/fp32/{words}"] for words in ("Only drums", "Remove bass")]
    assert values["edit/instruction/fp32"] == pytest.approx(np.mean(both))
    assert report.notes == ()


def test_without_a_text_embedder_scores_are_left_out_with_a_note(editor):
    report = evaluate(editor, load_embedder("log-mel"), ("fp32",))
    names = {metric.name for metric in report.metrics}
    assert "edit/kept/fp32" in names
    assert not any("instruction/" in name or "delta" in name for name in names)
    assert "reads no text" in report.notes[0]


def test_a_model_without_the_adapter_is_refused(tmp_path):
    plain = make_musicgen(tiny_musicgen(published_musicgen("small")), tmp_path)
    with pytest.raises(RequestError, match="no adapter"):
        evaluate(plain, ToneEmbedder(), ("fp32",))
