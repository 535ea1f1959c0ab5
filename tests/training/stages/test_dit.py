"""Flow matching and distillation: timesteps, batches, masked losses, and that both train."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.errors import ConfigError, TrainingError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import CropConfig, CurriculumConfig, DistillConfig, TokenizerConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.data.captions import CaptionTokens, train_tokenizer
from soundloom.training.data.latents import Latents, read_latents, write_latents
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.generator import Generator, initialize
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.task import TrainingTask
from soundloom.training.loop.trainer import Trainer
from soundloom.training.objectives.timesteps import add_noise, shift_timesteps
from soundloom.training.stages.distill import DistillTask
from soundloom.training.stages.dit import DiTTask, drop_context, loss_weights, masked_losses, sample_timesteps
from tests.training.tiny_recipe import FLOW, LATENT_DIM, SOUNDS, TEXT, loop, model_config

FRAMES_PER_SECOND = 20.0


def latents() -> Latents:
    """Clips of different lengths, each of one constant, which a tiny network can learn."""
    rng = np.random.default_rng(0)
    lengths = np.arange(20, 20 + SOUNDS.clips)
    frames = np.concatenate([np.tile(rng.standard_normal(LATENT_DIM), (n, 1)) for n in lengths])
    starts = np.cumsum([0, *lengths])
    silence = np.zeros((2, LATENT_DIM), np.float32)
    return Latents(frames.astype(np.float32), starts, (lengths / FRAMES_PER_SECOND).astype(np.float32), silence)


@pytest.fixture(scope="module")
def clips() -> EncodedClips:
    sounds = SyntheticSounds(SOUNDS)
    tokenizer = Tokenizer(train_tokenizer(sounds, TokenizerConfig(TEXT.vocab_size)))
    return EncodedClips(latents(), CaptionTokens(sounds, tokenizer, 16), FLOW, FRAMES_PER_SECOND)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator(model_config(), TEXT)
    initialize(generator)
    return generator


@torch.no_grad()
def validation(task: TrainingTask, name: str) -> float:
    """Return the mean loss over steps that no test trains on."""
    return float(np.mean([float(task.losses(step, RngStream(9, step))[name]) for step in range(1000, 1008)]))


@pytest.mark.parametrize(
    ("kind", "median"), [("uniform", 0.5), ("logsnr-uniform", 0.622), ("truncated-logit-normal", 0.538)]
)
def test_timesteps_follow_their_distribution(kind, median):
    t = sample_timesteps(replace(FLOW, timesteps=kind), (torch.arange(10_001) + 0.5) / 10_001)
    assert 0 < t.min() < t.max() <= 1
    assert float(t.median()) == pytest.approx(median, abs=0.01)


def test_clips_of_a_batch_are_padded_with_silence(clips):
    batch = clips.sample(3, RngStream(0, 0))
    lengths = (batch.seconds * FRAMES_PER_SECOND).round().int().tolist()
    for item, length in enumerate(lengths):
        assert batch.valid[item, :length].all()
        assert batch.data[item, :, :length].any()
        assert not batch.data[item, :, length:].any()
    assert batch.local.shape == (3, LATENT_DIM + 1, batch.data.shape[2])


def test_generated_and_preserved_frames_have_separate_losses_without_padding():
    error = torch.tensor([[1.0, 2.0, 3.0, 100.0]])
    valid, kept = torch.tensor([[True, True, True, False]]), torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    nothing = torch.zeros(1)
    batch = TrainingBatch(nothing, nothing, nothing, nothing, inpaint_mask=kept, valid=valid)
    assert tuple(map(float, masked_losses(error, batch))) == (2.5, 1.0)


def test_dropped_contexts_are_zero():
    context = drop_context(torch.ones(2, 3, 4), torch.tensor([True, False]))
    assert not context[0].any()
    assert context[1].all()


def test_flow_matching_lowers_the_loss(generator, clips, tmp_path):
    config = replace(FLOW, batch_size=8, loop=loop(steps=150, learning_rate=3e-3, warmup_steps=10, log_every=150))
    task = DiTTask(generator, clips, config)
    before = validation(task, "generated")
    Trainer(task, config.loop, tmp_path).train()
    after = validation(task, "generated")
    assert after < 0.6 * before


def test_crops_come_before_full_clips(generator, clips):
    short = CropConfig(until=3, frames=(5,), tokens=70, logsnr=(-6.0, -5.0))
    task = DiTTask(generator, clips, replace(FLOW, batch_size=2, timesteps="logsnr-uniform", crop_first=short))
    batch, config = task._sample(2, RngStream(0, 2))
    memory = generator.dit.config.num_memory_tokens
    assert batch.data.shape == (70 // (5 + memory), LATENT_DIM, 5)
    assert config.logsnr == (-6.0, -5.0)
    whole, config = task._sample(3, RngStream(0, 3))
    assert len(whole.data) == 2
    assert whole.data.shape[2] >= clips.latents.lengths.min()
    assert config.logsnr == FLOW.logsnr


def test_a_phase_of_the_curriculum_has_batches_of_its_families_from_its_start_on(generator, clips):
    first = CurriculumConfig(families=("bell",), start=3, share=0.5, logsnr=(-6.0, -5.0))
    second = CurriculumConfig(families=("tone",), start=103, share=1.0, logsnr=(-4.0, -3.0))
    captions = copy(clips.captions)
    captions.families = np.where(np.arange(SOUNDS.clips) % 3 == 0, "bell", "tone")
    focused = EncodedClips(clips.latents, captions, replace(FLOW, curriculum=(first, second)), FRAMES_PER_SECOND)
    task = DiTTask(generator, focused, focused.config)

    def steps_of(phase: CurriculumConfig, steps: range) -> int:
        lengths = clips.latents.seconds[np.isin(captions.families, phase.families)]  # all clips differ in length
        batches = [task._sample(step, RngStream(0, step)) for step in steps]
        found = [batch for batch, config in batches if config.logsnr == phase.logsnr]
        assert all(np.isin(batch.seconds, lengths).all() for batch in found)
        return len(found)

    assert not steps_of(first, range(3))
    assert 30 < steps_of(first, range(3, 103)) < 70
    assert not steps_of(first, range(103, 110))
    assert steps_of(second, range(103, 110)) == 7


def test_timesteps_of_longer_clips_are_shifted_towards_noise(generator, clips):
    shift = ShiftConfig("full", min_length=256, max_length=4096)
    t, lengths = torch.tensor([0.0, 0.3, 0.3, 1.0]), torch.tensor([9.0, 9.0, 5000.0, 300.0])
    alpha = torch.tensor([0.5, 1.15]).exp()
    wanted = torch.tensor([0.0, *(alpha * 0.3 / (1 + (alpha - 1) * 0.3)), 1.0])
    torch.testing.assert_close(shift_timesteps(t, lengths, shift), wanted)

    focus = CurriculumConfig(families=(), share=1.0)
    for config, is_moved in ((FLOW, True), (replace(FLOW, curriculum=(focus,)), False)):
        focused = EncodedClips(clips.latents, clips.captions, config, FRAMES_PER_SECOND)
        plain, moved = (DiTTask(generator, focused, config, some).losses(0, RngStream(0, 0)) for some in (None, shift))
        assert bool(plain["loss"] != moved["loss"]) == is_moved


def test_a_family_that_was_not_encoded_is_an_error(clips):
    with pytest.raises(ConfigError, match="no encoded sound is of these families: choir\nhint: found: tone"):
        EncodedClips(clips.latents, clips.captions, replace(FLOW, families=("choir",)), FRAMES_PER_SECOND)


def test_captions_and_latents_of_different_numbers_are_an_error(clips):
    captions = copy(clips.captions)
    captions.ids = captions.ids[1:]
    with pytest.raises(TrainingError, match="4 clips are encoded, but captions exist for 3"):
        EncodedClips(clips.latents, captions, FLOW, FRAMES_PER_SECOND)


def test_loss_weighting_lets_a_quiet_clip_count_as_much(clips):
    batch = clips.sample(1, RngStream(0, 0))
    quiet = replace(batch, data=batch.data * 0.5)
    weights = [float(loss_weights(some, 1.0)) for some in (batch, quiet)]
    power = float((batch.data.square().mean(1) * batch.valid).sum() / batch.valid.sum())
    assert weights[1] / weights[0] == pytest.approx((power + 0.02) / (power / 4 + 0.02), rel=1e-4)


def test_distillation_brings_one_step_nearer_to_the_end_of_the_path(generator, clips, tmp_path):
    config = DistillConfig(
        loop=loop(steps=60, learning_rate=3e-3, warmup_steps=5, log_every=60),
        batch_size=4,
        teacher_steps=4,
        guidance=1.5,
    )
    shift = model_config().model.diffusion.sampling_shift
    task = DistillTask(generator, clips, config, shift)
    before = validation(task, "loss")
    Trainer(task, config.loop, tmp_path).train()
    after = validation(task, "loss")
    assert after < 0.7 * before


@pytest.mark.slow
def test_distillation_can_preserve_predictions_at_high_noise(generator, clips, tmp_path):
    config = DistillConfig(
        loop=loop(steps=200, learning_rate=3e-3, warmup_steps=5, log_every=200),
        batch_size=4,
        teacher_steps=8,
        guidance=1.5,
        distill_below=0.6,
    )
    task = DistillTask(generator, clips, config, model_config().model.diffusion.sampling_shift)
    batch, path = task._path(0, RngStream(0, 0))
    assert 0.4 < path.times[0] <= 0.6
    assert np.corrcoef(path.points[0].flatten(), batch.data.flatten())[0, 1] > 0.3
    before = validation(task, "loss")
    Trainer(task, config.loop, tmp_path).train()
    assert validation(task, "loss") < 0.7 * before
    changes = []
    for time in (0.3, 0.9):
        x, t = (
            add_noise(batch.data, RngStream(0, 1).normal(*batch.data.shape), torch.tensor([time])),
            torch.full((4,), time),
        )
        with torch.no_grad():
            taught, answer = (
                some(batch, x, t, some.embed(batch.ids, batch.mask, batch.seconds))
                for some in (task.teacher, generator)
            )
        changes.append(float((answer - taught).norm() / taught.norm()))
    assert changes[1] < changes[0] / 2, changes


def test_distillation_needs_a_step_in_its_range(generator, clips):
    config = DistillConfig(loop=loop(steps=1), teacher_steps=4, distill_below=0.2)
    with pytest.raises(ConfigError, match=r"none of 4 steps starts at or below distill_below, 0.2"):
        DistillTask(generator, clips, config, model_config().model.diffusion.sampling_shift)


def test_stored_latents_are_read_back(tmp_path):
    written = latents()
    write_latents(tmp_path / "latents.npz", written)
    read = read_latents(tmp_path / "latents.npz")
    np.testing.assert_allclose(read.padded(1, 30), written.padded(1, 30), atol=2e-3)
    assert read.lengths.tolist() == written.lengths.tolist()
