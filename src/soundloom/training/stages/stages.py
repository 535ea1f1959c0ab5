"""The stages of a model, each of which reads what earlier ones left in the work folder and leaves what later ones read.

Captions to a tokenizer, sounds to an autoencoder, sounds to latents, captions and latents to a text encoder and then
to a flow model, that to one that needs few steps, and everything to a model folder. Any stage can be stopped and taken
up again; each says whether it is finished.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from soundloom.atomic import atomic_file
from soundloom.config.parse import to_dict
from soundloom.datasets.encoding import encode_dataset
from soundloom.datasets.fidelity import COMPARED_CLIPS, fidelity_warning
from soundloom.datasets.latents import LatentFolderWriter
from soundloom.engines.torch.stable_audio.same import SAME, Resampler
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.errors import RequestError, TrainingError
from soundloom.folders import expanded
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import (
    AutoencoderConfig,
    DistillConfig,
    DiTTrainingConfig,
    PostConfig,
    TextTrainingConfig,
    TokenizerConfig,
)
from soundloom.training.data.captions import CaptionTokens, train_tokenizer
from soundloom.training.data.latents import encode_sounds, write_latents
from soundloom.training.data.lengths import clip_lengths, save_clip_lengths, with_clip_seconds
from soundloom.training.data.protocols import SoundSource
from soundloom.training.init.generator import Generator, initialize, initialize_text
from soundloom.training.init.linear_codec import fit_linear_codec, init_linear_codec, sample_crops, zero_branches
from soundloom.training.init.noise_bands import init_noise_bands
from soundloom.training.loop.checkpoint import load_weights
from soundloom.training.loop.guards import require_no_divergence
from soundloom.training.loop.task import TrainingTask
from soundloom.training.objectives.clap import ClapScorer
from soundloom.training.objectives.text_features import FrozenTextEncoder, TextEmbedding, TextFeatures
from soundloom.training.recipe import BEGINS_WITH
from soundloom.training.stages.autoencoder import AutoencoderTask, require_sizes, settle_scale
from soundloom.training.stages.context import FLOW_SOUNDS, StableAudioContext
from soundloom.training.stages.distill import DistillTask
from soundloom.training.stages.dit import DiTTask
from soundloom.training.stages.export import export
from soundloom.training.stages.post import PostTask
from soundloom.training.stages.previews import Preview, reconstruction, samples
from soundloom.training.stages.run import run_stage
from soundloom.training.stages.text import TextTask

log = logging.getLogger(__name__)

SCALE_CLIPS = 500  # clips that the latents' scale is measured on
GENERATORS = ("dit", "distill", "post")  # stages that each make the generator anew, in order


def make_tokenizer(context: StableAudioContext) -> bool:
    """Learn a vocabulary from captions."""
    if context.pretrained:
        raise RequestError(f"{context.pretrained.checkpoint.name} brings its own tokenizer", "go on with train encode")
    if not context.distributed.is_main:
        return True
    config = context.recipe.read(TokenizerConfig, "tokenizer")
    settings = {"tokenizer": to_dict(config), "sounds": to_dict(context.sound_settings)}
    if context.run_dir.tokenizer.is_file() and not context.anew:
        for change in context.run_dir.changes("tokenizer", settings):
            log.warning("the tokenizer was learnt with other settings: %s; --restart learns it anew", change)
    else:
        model = train_tokenizer(context.sounds(), config)
        with atomic_file(context.run_dir.tokenizer) as file:
            file.write(model)
        context.run_dir.keep_settings("tokenizer", settings)
    return True


def train_autoencoder(context: StableAudioContext) -> bool:
    """Train the autoencoder, from principal components where it can hold them, and give latents unit variance."""
    config = context.recipe.read(AutoencoderConfig, "autoencoder")
    require_sizes(config, context.model.same)

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        sounds = context.sounds(config.clips)
        same = context.pretrained.same() if context.pretrained else SAME(context.model.same)
        if fresh and not context.pretrained:
            _begin_autoencoder(same, sounds, config)
        captions, text = _captions(context, sounds, config) if config.contrastive.weight else (None, None)
        stage = AutoencoderTask(same.to(context.distributed.device), sounds, config, captions, text)
        return stage, reconstruction(same, sounds, context.model.sample_rate)

    def finish(state: dict[str, Tensor]) -> None:
        same = SAME(context.model.same)
        same.load_state_dict(state)
        if not (
            context.pretrained and config.decoder_only
        ):  # whose transformer knows latents of the scale that they have
            settle_scale(same, context.scale_sounds(SCALE_CLIPS), SCALE_CLIPS)
        context.run_dir.keep_trained("autoencoder", same.state_dict())

    return run_stage(context, "autoencoder", config, config.loop, build, finish)


def _captions(
    context: StableAudioContext, sounds: SoundSource, config: AutoencoderConfig
) -> tuple[CaptionTokens, TextFeatures]:
    """Captions for the contrastive critic, and what reads them."""
    if context.pretrained:
        encoder = context.pretrained.text().to(context.distributed.device)
        return context.caption_tokens(sounds), FrozenTextEncoder(encoder)
    return context.caption_tokens(sounds), TextEmbedding(context.text_config.vocab_size, config.contrastive.width)


def _begin_autoencoder(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> None:
    if config.noise_bands:
        init_noise_bands(same, sounds, config)
    elif same.config.encoder.config.latent_shortcut:
        init_linear_codec(same, fit_linear_codec(same, sample_crops(same, sounds, config), config))
    else:
        for resampler in same.modules():
            if isinstance(resampler, Resampler):
                zero_branches(resampler)


def encode(context: StableAudioContext) -> bool:
    """Encode all sounds that the generator learns from."""
    if not context.distributed.is_main:
        return True
    if context.flow_sounds is None:
        _encode_dataset(context)
        return True
    latents, trained = context.run_dir.latents, context.run_dir.trained("autoencoder")
    settings = to_dict(context.flow_sounds.config)
    is_old = latents.is_file() and trained.is_file() and latents.stat().st_mtime < trained.stat().st_mtime
    if context.anew or is_old or not latents.is_file() or any(context.run_dir.changes("encode", settings)):
        write_latents(latents, encode_sounds(context.same(), context.flow_sounds))
        if context.pretrained:
            codec, clips = (
                context.codec(),
                map(context.flow_sounds.clip, range(min(COMPARED_CLIPS, len(context.flow_sounds)))),
            )
            _warn_of_loss(context, [codec.difference(clip.audio, clip.sample_rate) for clip in clips])
        context.run_dir.keep_settings("encode", settings)
    return True


def _warn_of_loss(context: StableAudioContext, differences: Sequence[float]) -> None:
    """Say where the autoencoder carries the sounds badly."""
    if warning := fidelity_warning(
        context.pretrained.checkpoint.name if context.pretrained else "this work", differences
    ):
        log.warning("%s", warning)


def _encode_dataset(context: StableAudioContext) -> None:
    """Encode what is new or changed since the last time."""
    assert context.data is not None
    if context.holds_latents:
        raise RequestError(f"{context.data.path} holds latents already", "go on with train dit")
    if context.anew:
        context.run_dir.forget("encode")
    summary = encode_dataset(
        context.dataset, LatentFolderWriter(context.run_dir.encoded_dataset), context.codec(), context.data.selection
    )
    for skipped in summary.skipped:
        log.warning("left out: %s: %s", skipped.origin, skipped.reason)
    log.info("%d encoded, %d as before, %d left out", summary.encoded, summary.unchanged, len(summary.skipped))
    _warn_of_loss(context, summary.differences)
    if summary.orphaned:
        log.warning("%d latents are of sounds that are gone and will not be learnt", summary.orphaned)
    if not summary.stored:
        raise TrainingError(f"nothing in {context.data.path} could be encoded", "the warnings above say why")


def train_text(context: StableAudioContext) -> bool:
    """Teach the text encoder what latents its captions stand for."""
    if context.pretrained:
        raise RequestError(f"{context.pretrained.checkpoint.name} brings its own text encoder", "go on with train dit")
    config = context.recipe.read(TextTrainingConfig, "text")

    def build(fresh: bool) -> tuple[TrainingTask, None]:
        encoder = T5GemmaEncoder(context.text_config)
        initialize_text(encoder)
        return TextTask(encoder, context.clips(), config), None

    def finish(state: dict[str, Tensor]) -> None:
        weights = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        context.run_dir.keep_trained("text", weights)

    return run_stage(context, "text", config, config.loop, build, finish)


def train_dit(context: StableAudioContext) -> bool:
    """Train the generator by flow matching."""
    config = context.recipe.read(DiTTrainingConfig, "dit")
    lengths: list[float] = []  # of the shortest and the longest clip

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        generator = Generator(context.model, context.text_config)
        if context.pretrained:
            context.pretrained.fill(generator)
        elif fresh:
            initialize(generator)
            if context.recipe.has("text"):
                load_weights(generator.text, context.run_dir.read_trained("text"), context.run_dir.trained("text"))
        clips = context.clips()
        shift = context.model.model.diffusion.distribution_shift_options
        stage = DiTTask(generator.to(context.distributed.device), clips, config, shift)
        lengths[:] = clip_lengths(context.model, clips.latents.seconds)
        return stage, samples(generator, context.same, clips, context.model, few=False)

    def finish(state: dict[str, Tensor]) -> None:
        save_clip_lengths(context.run_dir, lengths)
        context.run_dir.keep_trained("dit", state)

    return run_stage(context, "dit", config, config.loop, build, finish)


def distill(context: StableAudioContext) -> bool:
    """Teach the generator to jump to where its guided paths end."""
    config = context.recipe.read(DistillConfig, "distill")

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        generator, clips = context.generator(*BEGINS_WITH["distill"]), context.clips()
        stage = DistillTask(generator, clips, config, context.model.model.diffusion.sampling_shift)
        return stage, samples(generator, context.same, clips, context.model, few=True)

    return run_stage(context, "distill", config, config.loop, build)


def post_train(context: StableAudioContext) -> bool:
    """Let the generator make what a discriminator cannot tell from real clips."""
    config = context.recipe.read(PostConfig, "post")

    def build(fresh: bool) -> tuple[TrainingTask, Preview]:
        generator, clips = context.generator(*BEGINS_WITH["post"]), context.clips()
        stage = PostTask(generator, clips, config, _clap(context, config))
        return stage, samples(generator, context.same, clips, context.model, few=True)

    return run_stage(context, "post", config, config.loop, build)


def _clap(context: StableAudioContext, config: PostConfig) -> ClapScorer | None:
    """The scorer that takes the place of the project's own, where the recipe names one."""
    if not (config.text_alignment and config.scorer.clap):
        return None
    folder = context.recipe.folder / expanded(config.scorer.clap)
    same = context.same().to(context.distributed.device)
    return ClapScorer(folder, same, context.model.sample_rate, Tokenizer(context.tokenizer))


def export_model(context: StableAudioContext, out: Path, stage: str | None = None) -> None:
    """Write a model folder of what a stage made: of the last one in the recipe unless another is named."""
    require_no_divergence(context.run_dir.folder)
    name = stage or next(name for name in reversed(GENERATORS) if context.recipe.has(name) or name == "dit")
    context.run_dir.require(context.run_dir.trained(name), name)
    generator = context.generator(name)
    sounds = context.recipe.contents(FLOW_SOUNDS) if context.flow_sounds is not None else None
    export(out, with_clip_seconds(context), context.same(), generator.cpu(), context.tokenizer, sounds)


STAGES: dict[str, Callable[[StableAudioContext], bool]] = {
    "tokenizer": make_tokenizer,
    "autoencoder": train_autoencoder,
    "encode": encode,
    "text": train_text,
    "dit": train_dit,
    "distill": distill,
    "post": post_train,
}
