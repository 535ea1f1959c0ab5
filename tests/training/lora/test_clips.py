"""Batches of adapter training: what is drawn, and that it depends on the step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom.config.catalogue import published_config
from soundloom.config.stable_audio.model import parse_model_config
from soundloom.diffusion.noise import keyed_generator
from soundloom.training.lora.clips import HELD_OUT_TIMES, ClipSampler, TrainingClip, all_texts, data_digest
from soundloom.training.lora.config import DataConfig
from soundloom.training.lora.prompts import PromptBank, encode_texts
from soundloom.training.lora.step import StepConfig

MODEL = parse_model_config(published_config("small-music-base"))
CHANNELS, WIDTH, LENGTH = 256, 6, 8
DATA = DataConfig(batch_size=3, crop=10)


def clips(lengths=(30, 12, 5)) -> list[TrainingClip]:
    """Clips of one constant each, so that crops show which clip they are from."""
    return [
        TrainingClip(np.full((CHANNELS, n), i + 1, np.float16), n / 10.77, (f"clip {i}",))
        for i, n in enumerate(lengths)
    ]


def bank(texts) -> PromptBank:
    rows = {text: np.full((2 + i % 3, WIDTH), i, np.float32) for i, text in enumerate(texts)}
    return PromptBank(rows, LENGTH, np.full(WIDTH, -1, np.float32))


def sampler(data=DATA, some=None, **step) -> ClipSampler:
    some = clips() if some is None else some
    config = replace(StepConfig(), **step)
    silence = np.zeros((CHANNELS, 4), np.float32)
    return ClipSampler(some, bank(all_texts(some, data)), silence, MODEL, data, config, seed=7)


def draw(one: ClipSampler, number: int):
    return one.draw(keyed_generator(7, number), number)


def data_of(batch) -> np.ndarray:
    """Return the clean latents (b, t) of a batch of constant clips."""
    inputs = batch.inputs
    return (inputs.x - inputs.times[:, None, None] * inputs.target)[:, 0]


def test_a_batch_depends_on_the_step_alone():
    one, two = draw(sampler(), 3), draw(sampler(), 3)
    np.testing.assert_array_equal(one.inputs.x, two.inputs.x)
    assert not np.array_equal(draw(sampler(), 4).inputs.times, one.inputs.times)


def test_clips_are_cropped_and_followed_by_silence():
    for number in range(5):
        batch = draw(sampler(), number)
        assert batch.inputs.x.shape[2] <= 10
        for row, valid in zip(np.round(data_of(batch)).astype(int), batch.inputs.valid, strict=True):
            clip = int(row[0])
            length = min(10, (30, 12, 5)[clip - 1])
            assert (row[:length] == clip).all()
            assert not row[length:].any()
            assert valid[:length].all()


def test_batches_are_as_long_as_their_extended_clips():
    batch = draw(sampler(some=clips((5, 5)), silence_seconds=0.0), 0)
    assert batch.inputs.x.shape[2] == 5
    longer = max(draw(sampler(some=clips((5, 5))), number).inputs.x.shape[2] for number in range(5))
    assert longer > 5


def test_the_duration_is_that_of_the_clip_or_of_the_crop():
    whole = draw(sampler(), 0).inputs.seconds
    cut = draw(sampler(DataConfig(batch_size=3, crop=10, seconds="crop")), 0).inputs.seconds
    assert whole.max() == pytest.approx(30 / 10.77, rel=1e-3)
    assert cut.max() == pytest.approx(10 * 4096 / 44100, rel=1e-3)


def test_large_sets_show_every_clip_once_per_epoch():
    some = clips([12] * 130)
    one = sampler(DataConfig(batch_size=1, crop=10), some)
    chosen = [int(one._choose(keyed_generator(7, number), number)[0]) for number in range(260)]
    assert sorted(chosen[:130]) == sorted(chosen[130:]) == list(range(130))
    assert chosen[:130] != chosen[130:]
    assert one.epoch_batches == 130


def test_small_sets_are_drawn_from_with_replacement():
    one = sampler(DataConfig(batch_size=8, crop=10))
    assert draw(one, 0).inputs.x.shape[0] == 8
    assert one.epoch_batches == 100


def test_triggers_come_before_captions():
    data = DataConfig(batch_size=3, crop=10, trigger="zzz", trigger_share=0.5)
    texts = all_texts(clips(), data)
    assert set(texts) == {"clip 0", "clip 1", "clip 2", "zzz, clip 0", "zzz, clip 1", "zzz, clip 2"}
    one = sampler(data)
    found = [one._text(keyed_generator(1, number), one.clips[0]) for number in range(40)]
    assert 8 < found.count("zzz, clip 0") < 32
    assert all_texts(clips(), replace(data, trigger_share=1.0)) == ["zzz, clip 0", "zzz, clip 1", "zzz, clip 2"]


def test_prompts_have_one_row_for_all_padding():
    prompts = bank(["a", "b", "c"]).batch(["a", "c"])
    assert prompts.rows.shape == (2, 5, WIDTH)  # four tokens, and one row of padding
    assert prompts.repeats == LENGTH - 4
    assert (prompts.rows[0, 2:] == -1).all()
    full = PromptBank({"a": np.ones((LENGTH, WIDTH), np.float32)}, LENGTH, np.zeros(WIDTH, np.float32)).batch(["a"])
    assert (full.rows.shape[1], full.repeats) == (LENGTH, 1)


def test_texts_are_encoded_once(tmp_path):
    asked = []

    def encode(texts):
        asked.extend(texts)
        return [np.full((len(text), WIDTH), len(text), np.float32) for text in texts]

    path = tmp_path / "prompts.npz"
    encode_texts(["one", "three", "one"], encode, path, "model")
    found = encode_texts(["three", "eleven"], encode, path, "model")
    assert asked == ["one", "three", "eleven"]
    assert found["three"].shape == (5, WIDTH)
    encode_texts(["one"], encode, path, "another model")
    path.write_bytes(path.read_bytes()[:-100])
    encode_texts(["one"], encode, path, "another model")
    assert asked[3:] == ["one", "one"]


def test_held_out_batches_are_fixed():
    some = clips()
    (one,) = sampler().held_out(some[:1])
    (two,) = sampler().held_out(some[:1])
    np.testing.assert_array_equal(one.inputs.x, two.inputs.x)
    np.testing.assert_allclose(one.inputs.times, HELD_OUT_TIMES)
    assert one.inputs.valid.all()
    assert not one.inputs.local.any()


def test_the_digest_of_data_ignores_order_but_not_captions():
    some = clips()
    assert data_digest(some) == data_digest(some[::-1])
    assert data_digest(some) != data_digest([replace(some[0], captions=("other",)), *some[1:]])
