"""The autoencoder's task with all its losses: its phases, what it trains, and resuming."""

from dataclasses import replace

import pytest
import torch

from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import ConfigError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import (
    AdversarialConfig,
    AlignmentConfig,
    AugmentationConfig,
    AutoencoderConfig,
    ContrastiveConfig,
    DiscriminatorConfig,
    MelConfig,
    SemanticConfig,
    TokenizerConfig,
)
from soundloom.training.data.captions import CaptionTokens, train_tokenizer
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.loop.logging import read_log
from soundloom.training.loop.rng import RngStream
from soundloom.training.loop.trainer import Trainer
from soundloom.training.objectives.text_features import TextEmbedding
from soundloom.training.stages.autoencoder import AutoencoderTask, encode_and_update_std, require_sizes
from tests.training.tiny_recipe import AUTOENCODER, LATENT_DIM, SOUNDS, TEXT, loop, model_config

MEMBERS = (DiscriminatorConfig("convolution", 64, filters=4), DiscriminatorConfig("patches", 29, width=64, depth=2))
EVERYTHING = replace(
    AUTOENCODER,
    std_momentum=0.001,
    mel=MelConfig(0.05, windows=(256,), bands=16),
    adversarial=AdversarialConfig(0.1, discriminators=MEMBERS, start=2, head_start=2),
    alignment=AlignmentConfig(0.1, width=64, depth=1, detached_until=3),
    semantic=SemanticConfig(0.2, window=512, detached_until=3),
    contrastive=ContrastiveConfig(0.1, width=64, depth=1, detached_until=3),
    augmentation=AugmentationConfig(silence=0.1, silent_tail=0.1, max_tail=64, chirps=1, latent_dropout=0.05),
)


@pytest.fixture(scope="module")
def sounds() -> SyntheticSounds:
    return SyntheticSounds(SOUNDS)


@pytest.fixture(scope="module")
def captions(sounds) -> CaptionTokens:
    return CaptionTokens(sounds, Tokenizer(train_tokenizer(sounds, TokenizerConfig(TEXT.vocab_size))), 16)


def task(sounds: SyntheticSounds, config: AutoencoderConfig, captions: CaptionTokens | None = None) -> AutoencoderTask:
    torch.manual_seed(0)
    text = TextEmbedding(TEXT.vocab_size, 16) if captions else None
    return AutoencoderTask(SAME(model_config().same), sounds, config, captions, text)


def weights(trainer: Trainer) -> torch.Tensor:
    state = {**trainer.task.module.state_dict(), **trainer.auxiliary.state_dict()}
    return torch.cat([value.flatten() for value in [*state.values(), *trainer.ema.values()]])


def test_every_loss_is_logged_under_its_name(sounds, captions, tmp_path):
    Trainer(task(sounds, EVERYTHING, captions), loop(steps=6, log_every=6), tmp_path).train()
    (record,) = read_log(tmp_path)
    own = {"loss", "gradient", "spectral", "waveform", "softnorm", "mel", "adversarial", "feature_matching"}
    auxiliary = {"alignment", "alignment_zero", "semantic", "contrastive"}
    auxiliary |= {f"semantic_{name}" for name in ("low", "middle", "high", "balance")}
    adversarial = {"discriminators loss", "discriminators gradient", "0_convolution_64", "1_patches_29"}
    assert own | auxiliary | adversarial <= set(record)


def test_a_loss_of_weight_zero_is_not_built(sounds):
    plain = task(sounds, AUTOENCODER)
    assert not list(plain.auxiliary.parameters())
    assert len(plain.phases) == 1
    assert set(plain.losses(0, RngStream(0, 0))) == {"loss", "spectral", "waveform", "softnorm"}


def test_discriminators_train_in_every_second_step_and_have_a_head_start(sounds):
    played = task(sounds, EVERYTHING)
    assert [played.phase(step).name[0] for step in range(8)] == list("aadadada")
    assert "adversarial" not in played.losses(3, RngStream(0, 3))
    assert "adversarial" in played.losses(5, RngStream(0, 5))


def test_every_module_resumes_to_the_same_bits(sounds, captions, tmp_path):
    results = []
    for name, stops in (("whole", (9,)), ("parts", (3, 6, 9))):
        (tmp_path / name).mkdir()
        for stop in stops:
            trainer = Trainer(task(sounds, EVERYTHING, captions), loop(steps=9, save_every=100), tmp_path / name)
            trainer.train(until=lambda trainer=trainer, stop=stop: trainer.step == stop)
        results.append(weights(trainer))
    assert torch.equal(*results)


def test_gradients_of_auxiliary_modules_reach_the_encoder_from_their_step_on(sounds):
    alone = replace(AUTOENCODER, waveform=0.0, softnorm=0.0, spectral=replace(AUTOENCODER.spectral, windows=(256,)))
    config = replace(alone, semantic=SemanticConfig(0.2, window=512, detached_until=5))
    gradients = []
    for step in (4, 5):
        trained = task(sounds, config)
        term = trained.losses(step, RngStream(0, 0))["semantic"]
        term.backward()
        gradients.append(trained.module.encoder.layers["2"].weight.grad)
    assert gradients[0] is None
    assert gradients[1].abs().sum() > 0


def test_training_the_decoder_alone_does_not_change_the_encoder(sounds, tmp_path):
    trainer = Trainer(task(sounds, replace(AUTOENCODER, decoder_only=True)), loop(steps=2, weight_decay=0.5), tmp_path)
    before = {name: value.clone() for name, value in trainer.task.module.state_dict().items()}
    trainer.train()
    changed = {name for name, value in trainer.task.module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_the_running_standard_deviation_follows_the_latents():
    torch.manual_seed(0)
    same = SAME(model_config().same)
    audio = torch.randn(1, 2, 4096)
    with torch.no_grad():
        deviation = same.encode(audio).std()
    latents = encode_and_update_std(same, audio, momentum=0.1)
    expected = 0.9 + 0.1 * deviation
    torch.testing.assert_close(same.bottleneck.running_std, expected.view(1))
    torch.testing.assert_close(latents.std(), deviation / expected)
    latents.sum().backward()  # fails if backward needs a tensor that was changed in place
    with torch.no_grad():
        encode_and_update_std(same, audio, momentum=0.1)
    torch.testing.assert_close(same.bottleneck.running_std, expected.view(1))


def test_a_contrastive_loss_needs_two_clips(sounds):
    with pytest.raises(ConfigError, match="at least 2"):
        replace(AUTOENCODER, batch_size=1, contrastive=ContrastiveConfig(0.1))


def test_an_adversarial_loss_needs_discriminators():
    with pytest.raises(ConfigError, match=r"(?s)discriminators.*\[\[adversarial.discriminators\]\]"):
        AdversarialConfig(0.1)


def test_all_latents_of_a_crop_are_decoded(sounds):
    latents, _ = task(sounds, EVERYTHING)._reconstruct(torch.zeros(2, 2, 1024), RngStream(0, 0))
    assert latents.shape == (2, LATENT_DIM, 8)


def test_crops_shorter_than_a_window_are_rejected():
    config = replace(AUTOENCODER, frames=2, spectral=replace(AUTOENCODER.spectral, windows=(256, 1024)))
    said = r"crops of 2 frames are 256 samples, shorter than the longest window \(1024\)"
    with pytest.raises(ConfigError, match=said):
        require_sizes(config, model_config().same)
