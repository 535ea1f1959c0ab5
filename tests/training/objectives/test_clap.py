"""CLAP as a scorer: features, gradients, use in post-training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from soundloom.engines.torch.stable_audio.same import SAME
from soundloom.errors import CheckpointError
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import TokenizerConfig
from soundloom.training.data.captions import train_tokenizer
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.loop.rng import RngStream
from soundloom.training.objectives.clap import ClapScorer, resample_fft
from soundloom.training.stages.post import PostTask
from tests.training.stages.test_post import POST, batch_of, clips, generator  # noqa: F401 (a fixture)
from tests.training.tiny_recipe import SOUNDS, TEXT, model_config

pytest.importorskip("transformers", reason="transformers is not installed")

RATE = 44100
TEXT_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
AUDIO_SIZES = {
    "num_mel_bins": 16,
    "spec_size": 64,
    "freq_ratio": 4,
    "window_size": 4,
    "patch_stride": [4, 4],
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1],
    "num_attention_heads": [1, 1],
    "hidden_size": 16,
}


def write_clap(folder, *, fusion=False):
    """Write a random CLAP model for one second in 16 bands, with a byte tokenizer."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(0)
    symbols = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_to_unicode().values())
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    text = {**TEXT_SIZES, "vocab_size": len(vocabulary), "max_position_embeddings": 130}
    audio = {**AUDIO_SIZES, "enable_fusion": fusion}
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=8)).save_pretrained(folder)
    ClapFeatureExtractor(feature_size=16, max_length_s=1, truncation="rand_trunc").save_pretrained(folder)
    RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=128).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> ClapScorer:
    tokenizer = Tokenizer(train_tokenizer(SyntheticSounds(SOUNDS), TokenizerConfig(TEXT.vocab_size)))
    torch.manual_seed(0)
    return ClapScorer(write_clap(tmp_path_factory.mktemp("clap")), SAME(model_config().same), RATE, tokenizer)


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_features_match_the_models_own_extractor(scorer, seconds):
    sound = np.random.default_rng(0).standard_normal(round(seconds * 48000)).astype(np.float32)
    wanted = scorer.extractor(sound, sampling_rate=48000, return_tensors="pt").input_features[0]
    piece = scorer._fit_length(torch.from_numpy(sound), RngStream(0, 0))
    torch.testing.assert_close(scorer.network.features(piece[None]), wanted.float(), atol=2e-3, rtol=0)


def test_long_sounds_are_cropped_randomly(scorer):
    ramp = torch.arange(100_000.0)
    starts = {int(scorer._fit_length(ramp, RngStream(0, step))[0]) for step in range(4)}
    assert len(starts) == 4
    assert max(starts) <= 52_000


def test_resampled_tone_is_the_tone_at_the_other_rate():
    tones = [torch.sin(2 * torch.pi * 441 * torch.arange(rate) / rate) for rate in (RATE, 48000)]
    torch.testing.assert_close(resample_fft(tones[0], RATE, 48000), tones[1], atol=1e-3, rtol=0)


def test_gradient_step_reduces_the_distance_to_the_caption(scorer, clips):  # noqa: F811
    batch = batch_of(clips)
    latents = batch.data.clone().requires_grad_()
    before = scorer.distance(latents, batch, RngStream(0, 0))
    assert before.shape == (4,)
    (slope,) = torch.autograd.grad(before.sum(), latents)
    moved = latents.detach() - 0.05 * slope / slope.square().mean().sqrt()
    assert scorer.distance(moved, batch, RngStream(0, 0)).sum() < before.sum()


def test_captions_are_decoded_and_tokenized_again(scorer, clips):  # noqa: F811
    batch = batch_of(clips)
    caption = scorer.captions.text(batch.ids[0][batch.mask[0]].tolist())
    sounds = SyntheticSounds(SOUNDS)
    captions = [caption.lower() for position in range(len(sounds)) for caption in sounds.captions(position)]
    assert caption and any(whole.startswith(caption) for whole in captions)  # which may be truncated
    alone = scorer.text_tokenizer([caption], return_tensors="pt")
    wanted = scorer.network.model.get_text_features(alone.input_ids, alone.attention_mask).pooler_output
    torch.testing.assert_close(scorer.embed_text(batch.ids, batch.mask)[:1], wanted)


def test_scorer_replaces_the_critic_and_is_not_trained(scorer, clips):  # noqa: F811
    task = PostTask(generator(), clips, replace(POST, text_alignment=0.3), scorer)
    assert task.critic is None
    losses = task.losses(0, RngStream(0, 0))
    losses["loss"].backward()
    assert float(losses["text_alignment"].detach()) > 0
    assert all(p.grad is None for p in (*scorer.network.model.parameters(), *scorer.same.parameters()))


def test_folder_without_a_model_raises(scorer, tmp_path):
    with pytest.raises(CheckpointError, match="there is no folder"):
        ClapScorer(tmp_path / "absent", scorer.same, RATE, scorer.captions)
    with pytest.raises(CheckpointError, match="holds no readable CLAP model"):
        ClapScorer(tmp_path, scorer.same, RATE, scorer.captions)


def test_model_with_feature_fusion_raises(scorer, tmp_path):
    with pytest.raises(CheckpointError, match="fuses features"):
        ClapScorer(write_clap(tmp_path, fusion=True), scorer.same, RATE, scorer.captions)
