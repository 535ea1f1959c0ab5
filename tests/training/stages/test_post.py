"""Post-training: its losses, its phases, and resuming."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.errors import ConfigError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import PostConfig, ScorerConfig, TokenizerConfig
from soundloom.training.data.batches import EncodedClips, TrainingBatch
from soundloom.training.data.captions import CaptionTokens, train_tokenizer
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.init.generator import Generator
from soundloom.training.loop.logging import read_log
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.trainer import Trainer
from soundloom.training.objectives.gan.latent_discriminator import LatentDiscriminator
from soundloom.training.objectives.scorers import LatentCritic, equal_captions, geodesic, info_nce, uniformity
from soundloom.training.stages.post import (
    PostTask,
    discriminator_times,
    generator_times,
    mean_over_frames,
    other_captions,
)
from tests.training.stages.test_dit import FRAMES_PER_SECOND, latents
from tests.training.tiny_recipe import FLOW, LATENT_DIM, LOOP, SOUNDS, TEXT, loop, model_config

POST = PostConfig(
    loop=LOOP,
    batch_size=4,
    head_width=16,
    feature_matching=0.5,
    text_alignment=0.2,
    logit_centering=0.01,
    scorer=ScorerConfig(width=64, depth=1),
)


@pytest.fixture(scope="module")
def clips() -> EncodedClips:
    sounds = SyntheticSounds(SOUNDS)
    tokenizer = Tokenizer(train_tokenizer(sounds, TokenizerConfig(TEXT.vocab_size)))
    clips = EncodedClips(latents(), CaptionTokens(sounds, tokenizer, 16), FLOW, FRAMES_PER_SECOND)
    clips.groups = [np.arange(SOUNDS.clips)]  # with so few clips every group would hold one
    return clips


def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(model_config(), TEXT)


def task(clips: EncodedClips, config: PostConfig = POST) -> PostTask:
    return PostTask(generator(), clips, config)


def batch_of(clips: EncodedClips) -> TrainingBatch:
    return clips.sample(4, RngStream(0, 0))


def test_the_discriminator_starts_as_a_copy_of_the_generator(clips):
    whole = generator()
    discriminator = LatentDiscriminator(whole, (), 16)
    assert discriminator.layers == [0]  # 70 % of two blocks
    assert len(discriminator.backbone.dit.transformer.layers) == 1
    assert len(whole.dit.transformer.layers) == 2
    for name, parameter in discriminator.backbone.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))
        assert parameter is not whole.get_parameter(name)


def test_there_is_one_score_per_frame_independent_of_padding(clips):
    torch.manual_seed(1)
    discriminator, batch = LatentDiscriminator(generator(), (0, 1), 16), batch_of(clips)
    t, x = torch.full((4,), 0.5), batch.data
    padding = ~batch.valid[:, None]
    assert padding.any()
    one, other = (discriminator(batch, y, t, discriminator.embed(batch)) for y in (x, x + 5 * padding))
    assert one.scores.shape == batch.valid.shape
    torch.testing.assert_close(one.scores * batch.valid, other.scores * batch.valid, atol=1e-4, rtol=1e-4)
    assert [feature.shape[1] for feature in one.features] == [x.shape[2]] * 2  # without memory tokens


def test_means_weight_valid_frames_and_items_equally():
    valid = torch.tensor([[True, False, False], [True, True, True]])
    batch = TrainingBatch(*[torch.zeros(1)] * 5, valid=valid)
    values = torch.tensor([[2.0, 100.0, 100.0], [0.0, 3.0, 3.0]])
    assert float(mean_over_frames(values, batch)) == 2.0


def test_mismatched_captions_are_the_next_ones_that_differ():
    ids = torch.tensor([[1, 1], [1, 1], [2, 0], [1, 1]])
    partner, exists = other_captions(ids)
    assert partner.tolist()[:2] == [2, 2]
    assert partner[2] == 3
    assert partner[3] == 2
    assert exists.all()
    assert not other_captions(torch.ones(3, 2))[1].any()
    assert not other_captions(torch.ones(1, 2))[1].any()


def test_swapping_captions_does_not_change_the_batch(clips):
    trained, batch = task(clips), batch_of(clips)
    before = batch.ids.clone()
    pair = trained._pair(batch, batch.data, RngStream(0, 0))
    scores = trained.discriminator(batch, pair.real, pair.t, trained.discriminator.embed(batch)).scores
    trained._contrastive_loss(pair, scores)
    assert torch.equal(batch.ids, before)


def test_real_and_generated_clips_are_compared_under_the_same_noise(clips):
    trained, batch = task(clips), batch_of(clips)
    pair = trained._pair(batch, 0 * batch.data, RngStream(0, 0))
    difference = (pair.real - pair.generated) * batch.valid[:, None]
    torch.testing.assert_close(difference, (1 - pair.t[:, None, None]) * batch.data * batch.valid[:, None])
    assert not pair.real[~batch.valid[:, None].expand_as(pair.real)].any()


def test_losses_of_both_phases_follow_their_formulas(clips):
    config = replace(
        POST, feature_matching=0.0, text_alignment=0.0, logit_centering=0.0, contrastive=0.0, gradient_penalty=0.0
    )
    trained = task(clips, config)
    of_generator, of_judge = (trained.losses(step, RngStream(0, 0)) for step in (0, 1))
    stream = RngStream(0, 0)
    batch = clips.sample(4, stream)
    clean = trained._denoise(batch, stream, 0.0)
    pair = trained._pair(batch, clean, stream)
    embedded = trained.discriminator.embed(batch)
    real, made = (trained.discriminator(batch, x, pair.t, embedded).scores for x in (pair.real, pair.generated))
    items = [(real - made)[i][batch.valid[i]] for i in range(4)]
    expected = sum(torch.log1p(torch.exp(lead)).mean() for lead in items) / 4
    torch.testing.assert_close(of_generator["loss"], expected)
    torch.testing.assert_close(of_judge["loss"], sum(torch.log1p(torch.exp(-lead)).mean() for lead in items) / 4)


def test_the_gradient_penalty_approximates_the_squared_gradient(clips):
    trained = task(clips, replace(POST, gradient_penalty_noise=1e-3))
    discriminator, batch = trained.discriminator, clips.sample(1, RngStream(0, 3))
    pair = trained._pair(batch, batch.data, RngStream(0, 0))
    embedded = discriminator.embed(batch)
    x = pair.real.clone().requires_grad_()
    scores = discriminator(batch, x, pair.t, embedded).scores
    slopes = [trained._gradient_penalty(pair, pair.real, scores, embedded, RngStream(1, i)).item() for i in range(60)]
    valid = batch.valid[0].nonzero()[:, 0]
    squares = [torch.autograd.grad(scores[0, i], x, retain_graph=True)[0].square().sum().item() for i in valid]
    assert np.mean(slopes) / 1e-6 == pytest.approx(np.mean(squares), rel=0.3)


def test_gradients_reach_only_the_modules_of_the_phase(clips):
    trained = task(clips)
    trained.discriminator.requires_grad_(False)
    trained.critic.requires_grad_(False)
    trained.losses(0, RngStream(0, 0))["loss"].backward()
    assert trained.module.dit.postprocess_conv.weight.grad.abs().sum() > 0
    trained = task(clips)
    trained.losses(1, RngStream(0, 0))["loss"].backward()
    assert trained.discriminator.head.score.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in trained.module.parameters())


def test_generator_inputs_have_all_noise_levels_and_often_pure_noise():
    t = generator_times(replace(POST, pure_noise=0.25), RngStream(0, 0), 4000)
    assert float((t == 1).float().mean()) == pytest.approx(0.25, abs=0.03)
    logsnr = torch.log((1 - t[t < 1]) / t[t < 1])
    assert (float(logsnr.min()), float(logsnr.max())) == (pytest.approx(-6, abs=0.1), pytest.approx(2, abs=0.1))
    assert float(logsnr.mean()) == pytest.approx(-2, abs=0.2)


@pytest.mark.parametrize("kind", ["uniform", "logit-normal"])
def test_discriminator_inputs_have_noise_levels_of_the_configured_range(kind):
    t = discriminator_times(replace(POST, discriminator_timesteps=kind), (torch.arange(1000) + 0.5) / 1000)
    assert 0 <= t.min() < t.max() <= 0.8
    assert float(t.median()) == pytest.approx(0.4, abs=0.01)
    assert float(t.std()) == pytest.approx(0.231 if kind == "uniform" else 0.8 * 0.208, abs=0.01)


def test_every_loss_is_logged_under_its_name(clips, tmp_path):
    Trainer(task(clips), loop(steps=4, log_every=4), tmp_path).train()
    (record,) = read_log(tmp_path)
    of_generator = {"loss", "adversarial", "margin", "feature_matching", "text_alignment"}
    of_judge = {"discriminator loss", "discriminator", "contrastive", "gradient_penalty", "logit_centering", "critic"}
    assert of_generator | of_judge <= set(record)


def test_post_training_resumes_to_the_same_bits(clips, tmp_path):
    results = []
    for name, stops in (("whole", (6,)), ("parts", (3, 6))):
        (tmp_path / name).mkdir()
        for stop in stops:
            trainer = Trainer(task(clips), loop(steps=6, save_every=100), tmp_path / name)
            trainer.train(until=lambda trainer=trainer, stop=stop: trainer.step == stop)
        state = {**trainer.task.module.state_dict(), **trainer.auxiliary.state_dict(), **trainer.ema}
        results.append(torch.cat([value.flatten() for value in state.values()]))
    assert torch.equal(*results)


def test_a_given_scorer_replaces_the_critic(clips):
    class Level:
        def distance(self, latents, batch, stream):
            return latents.square().mean((1, 2))

    trained = PostTask(
        generator(), clips, replace(POST, adversarial=0.0, feature_matching=0.0, text_alignment=2.0), Level()
    )
    assert trained.critic is None
    losses = trained.losses(0, RngStream(0, 0))
    torch.testing.assert_close(losses["loss"], 2 * losses["text_alignment"])


def test_equal_captions_are_not_negatives():
    a = torch.eye(3)
    b = torch.stack([a[0], a[0], a[2]])  # the first two captions are the same
    equal = equal_captions(torch.tensor([[1], [1], [2]]))
    scale = torch.tensor(10.0)
    strict, lenient = (float(info_nce(b, b, scale, e)) for e in (torch.eye(3, dtype=torch.bool), equal))
    assert strict == pytest.approx(2 / 3 * math.log(2), rel=1e-3)
    assert lenient == pytest.approx(0, abs=1e-3)


def test_distance_is_half_the_squared_angle():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[math.cos(0.8), math.sin(0.8)]])
    assert float(geodesic(a, b)) == pytest.approx(0.8**2 / 2, rel=1e-4)
    same = a.clone().requires_grad_()
    geodesic(same, a).sum().backward()
    assert same.grad.isfinite().all()


def test_uniformity_is_lowest_for_evenly_spread_vectors():
    crowded, spread = torch.eye(2)[[0, 0, 0]], torch.eye(3)
    assert float(uniformity(crowded, crowded)) == pytest.approx(0)
    assert float(uniformity(spread, spread)) == pytest.approx(-4)


def test_the_critic_learns_which_latents_match_a_caption():
    torch.manual_seed(0)
    critic = LatentCritic(ScorerConfig(width=64, depth=1), LATENT_DIM, TEXT.vocab_size)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    count, frames = 8, 6
    meaning = torch.randn(count, LATENT_DIM, 1).expand(-1, -1, frames)
    whole = torch.ones(count, frames, dtype=torch.bool)
    ids = torch.arange(2 * count).view(count, 2)
    batch = TrainingBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.ones(count), meaning, 0.0 * whole, whole)
    for step in range(60):
        optimizer.zero_grad()
        critic.losses(batch, RngStream(0, step))["loss"].backward()
        optimizer.step()
    wrong = replace(batch, ids=batch.ids.roll(1, 0))
    right, swapped = (critic.distance(meaning, b, RngStream(2, 0)).mean().item() for b in (batch, wrong))
    assert right < 0.5 * swapped


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"discriminator_every": 1}, "between 2 and"),
        ({"logsnr": (1.0,)}, "logsnr"),
        ({"head_width": 20}, "multiple of 16"),
    ],
)
def test_invalid_settings_are_rejected(wrong, message):
    with pytest.raises(ConfigError, match=message):
        replace(POST, **wrong)
