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
from soundloom.datasets.fidelity import COMPARED_SOUNDS, fidelity_warning
from soundloom.datasets.latents import LatentFolderWriter
from soundloom.engines.torch.stable_audio.same import SAME, Resampler
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder
from soundloom.errors import RequestError, TrainingError
from soundloom.folders import expanded
from soundloom.text.tokenizer import Tokenizer
from soundloom.training.config import (
    AutoencoderConfig,
    DistillationConfig,
    DiTTrainingConfig,
    PostConfig,
    TextTrainingConfig,
    TokenizerConfig,
)
from soundloom.training.data.captions import CaptionTokens, train_tokenizer
from soundloom.training.data.latents import encode_sounds, write_latents
from soundloom.training.data.lengths import clip_lengths, note_lengths, with_clip_seconds
from soundloom.training.data.sources import SoundSource
from soundloom.training.init.linear_codec import fit_linear_codec, random_crops, silence_branches, start_linear
from soundloom.training.init.noise_bands import start_with_noise
from soundloom.training.loop.checkpoint import fill
from soundloom.training.loop.guards import require_no_diverged_stage
from soundloom.training.loop.loop import Stage
from soundloom.training.objectives.clap import ClapScorer
from soundloom.training.objectives.text_features import FrozenText, LearntText, TextFeatures
from soundloom.training.recipe import BEGINS_WITH, COMMANDS
from soundloom.training.stages.autoencoder import AutoencoderStage, require_sizes, settle_scale
from soundloom.training.stages.distillation import DistillationStage
from soundloom.training.stages.dit import FlowStage, Generator, initialize, start_text
from soundloom.training.stages.export import export
from soundloom.training.stages.job import FLOW_SOUNDS, Job
from soundloom.training.stages.post import PostStage
from soundloom.training.stages.previews import Preview, reconstruction, samples
from soundloom.training.stages.run import train_stage
from soundloom.training.stages.text import TextStage

log = logging.getLogger(__name__)

SCALE_CLIPS = 500  # clips that the latents' scale is measured on
GENERATORS = ("dit", "distillation", "post")  # stages that each make the generator anew, in order


def make_tokenizer(job: Job) -> bool:
    """Learn a vocabulary from captions."""
    if job.base:
        raise RequestError(f"{job.base.checkpoint.name} brings its own tokenizer", "go on with train encode")
    if not job.machine.is_first:
        return True
    config = job.recipe.read(TokenizerConfig, "tokenizer")
    settings = {"tokenizer": to_dict(config), "sounds": to_dict(job.sound_settings)}
    if job.work.tokenizer.is_file() and not job.anew:
        for change in job.work.changes("tokenizer", settings):
            log.warning("the tokenizer was learnt with other settings: %s; --restart learns it anew", change)
    else:
        model = train_tokenizer(job.sounds(), config)
        with atomic_file(job.work.tokenizer) as file:
            file.write(model)
        job.work.keep_settings("tokenizer", settings)
    return True


def train_autoencoder(job: Job) -> bool:
    """Train the autoencoder, from principal components where it can hold them, and give latents unit variance."""
    config = job.recipe.read(AutoencoderConfig, "autoencoder")
    require_sizes(config, job.model.same)

    def build(fresh: bool) -> tuple[Stage, Preview]:
        sounds = job.sounds(config.clips)
        same = job.base.same() if job.base else SAME(job.model.same)
        if fresh and not job.base:
            _begin_autoencoder(same, sounds, config)
        captions, text = _captions(job, sounds, config) if config.contrastive.weight else (None, None)
        stage = AutoencoderStage(same.to(job.machine.device), sounds, config, captions, text)
        return stage, reconstruction(same, sounds, job.model.sample_rate)

    def finish(state: dict[str, Tensor]) -> None:
        same = SAME(job.model.same)
        same.load_state_dict(state)
        if not (job.base and config.decoder_only):  # whose transformer knows latents of the scale that they have
            settle_scale(same, job.scale_sounds(SCALE_CLIPS), SCALE_CLIPS)
        job.work.keep_trained("autoencoder", same.state_dict())

    return train_stage(job, "autoencoder", config, config.loop, build, finish)


def _captions(job: Job, sounds: SoundSource, config: AutoencoderConfig) -> tuple[CaptionTokens, TextFeatures]:
    """Captions for the contrastive critic, and what reads them."""
    if job.base:
        return job.caption_tokens(sounds), FrozenText(job.base.text().to(job.machine.device))
    return job.caption_tokens(sounds), LearntText(job.text_config.vocab_size, config.contrastive.width)


def _begin_autoencoder(same: SAME, sounds: SoundSource, config: AutoencoderConfig) -> None:
    if config.noise_bands:
        start_with_noise(same, sounds, config)
    elif same.config.encoder.config.latent_shortcut:
        start_linear(same, fit_linear_codec(same, random_crops(same, sounds, config), config))
    else:
        for resampler in same.modules():
            if isinstance(resampler, Resampler):
                silence_branches(resampler)


def encode(job: Job) -> bool:
    """Encode all sounds that the generator learns from."""
    if not job.machine.is_first:
        return True
    if job.flow_sounds is None:
        _encode_dataset(job)
        return True
    latents, trained = job.work.latents, job.work.trained("autoencoder")
    settings = to_dict(job.flow_sounds.config)
    is_old = latents.is_file() and trained.is_file() and latents.stat().st_mtime < trained.stat().st_mtime
    if job.anew or is_old or not latents.is_file() or any(job.work.changes("encode", settings)):
        write_latents(latents, encode_sounds(job.same(), job.flow_sounds))
        if job.base:
            codec, clips = job.codec(), map(job.flow_sounds.clip, range(min(COMPARED_SOUNDS, len(job.flow_sounds))))
            _warn_of_loss(job, [codec.difference(clip.audio, clip.sample_rate) for clip in clips])
        job.work.keep_settings("encode", settings)
    return True


def _warn_of_loss(job: Job, differences: Sequence[float]) -> None:
    """Say where the autoencoder carries the sounds badly."""
    if warning := fidelity_warning(job.base.checkpoint.name if job.base else "this work", differences):
        log.warning("%s", warning)


def _encode_dataset(job: Job) -> None:
    """Encode what is new or changed since the last time."""
    assert job.data is not None
    if job.holds_latents:
        raise RequestError(f"{job.data.path} holds latents already", "go on with train dit")
    if job.anew:
        job.work.forget("encode")
    summary = encode_dataset(job.dataset, LatentFolderWriter(job.work.encoded_dataset), job.codec(), job.data.selection)
    for skipped in summary.skipped:
        log.warning("left out: %s: %s", skipped.origin, skipped.reason)
    log.info("%d encoded, %d as before, %d left out", summary.encoded, summary.unchanged, len(summary.skipped))
    _warn_of_loss(job, summary.differences)
    if summary.orphaned:
        log.warning("%d latents are of sounds that are gone and will not be learnt", summary.orphaned)
    if not summary.stored:
        raise TrainingError(f"nothing in {job.data.path} could be encoded", "the warnings above say why")


def train_text(job: Job) -> bool:
    """Teach the text encoder what latents its captions stand for."""
    if job.base:
        raise RequestError(f"{job.base.checkpoint.name} brings its own text encoder", "go on with train dit")
    config = job.recipe.read(TextTrainingConfig, "text")

    def build(fresh: bool) -> tuple[Stage, None]:
        encoder = T5GemmaEncoder(job.text_config)
        start_text(encoder)
        return TextStage(encoder, job.clips(), config), None

    def finish(state: dict[str, Tensor]) -> None:
        weights = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
        job.work.keep_trained("text", weights)

    return train_stage(job, "text", config, config.loop, build, finish)


def train_dit(job: Job) -> bool:
    """Train the generator by flow matching."""
    config = job.recipe.read(DiTTrainingConfig, "dit")
    lengths: list[float] = []  # of the shortest and the longest clip

    def build(fresh: bool) -> tuple[Stage, Preview]:
        generator = Generator(job.model, job.text_config)
        if job.base:
            job.base.fill(generator)
        elif fresh:
            initialize(generator)
            if job.recipe.has("text"):
                fill(generator.text, job.work.read_trained("text"), job.work.trained("text"))
        clips = job.clips()
        shift = job.model.model.diffusion.distribution_shift_options
        stage = FlowStage(generator.to(job.machine.device), clips, config, shift)
        lengths[:] = clip_lengths(job.model, clips.latents.seconds)
        return stage, samples(generator, job.same, clips, job.model, few=False)

    def finish(state: dict[str, Tensor]) -> None:
        note_lengths(job.work, lengths)
        job.work.keep_trained("dit", state)

    return train_stage(job, "dit", config, config.loop, build, finish)


def distill(job: Job) -> bool:
    """Teach the generator to jump to where its guided paths end."""
    config = job.recipe.read(DistillationConfig, "distillation")

    def build(fresh: bool) -> tuple[Stage, Preview]:
        generator, clips = job.generator(*BEGINS_WITH["distillation"]), job.clips()
        stage = DistillationStage(generator, clips, config, job.model.model.diffusion.sampling_shift)
        return stage, samples(generator, job.same, clips, job.model, few=True)

    return train_stage(job, "distillation", config, config.loop, build)


def post_train(job: Job) -> bool:
    """Let the generator make what a discriminator cannot tell from real clips."""
    config = job.recipe.read(PostConfig, "post")

    def build(fresh: bool) -> tuple[Stage, Preview]:
        generator, clips = job.generator(*BEGINS_WITH["post"]), job.clips()
        stage = PostStage(generator, clips, config, _clap(job, config))
        return stage, samples(generator, job.same, clips, job.model, few=True)

    return train_stage(job, "post", config, config.loop, build)


def _clap(job: Job, config: PostConfig) -> ClapScorer | None:
    """The scorer that takes the place of the project's own, where the recipe names one."""
    if not (config.text and config.scorer.clap):
        return None
    folder = job.recipe.folder / expanded(config.scorer.clap)
    same = job.same().to(job.machine.device)
    return ClapScorer(folder, same, job.model.sample_rate, Tokenizer(job.tokenizer))


def export_model(job: Job, out: Path, stage: str | None = None) -> None:
    """Write a model folder of what a stage made: of the last one in the recipe unless another is named."""
    require_no_diverged_stage(job.work.folder, lambda stopped: COMMANDS.get(stopped, stopped))
    name = stage or next(name for name in reversed(GENERATORS) if job.recipe.has(name) or name == "dit")
    job.work.require(job.work.trained(name), name)
    generator = job.generator(name)
    sounds = job.recipe.contents(FLOW_SOUNDS) if job.flow_sounds is not None else None
    export(out, with_clip_seconds(job), job.same(), generator.cpu(), job.tokenizer, sounds)


STAGES: dict[str, Callable[[Job], bool]] = {
    "tokenizer": make_tokenizer,
    "autoencoder": train_autoencoder,
    "encode": encode,
    "text": train_text,
    "dit": train_dit,
    "distill": distill,
    "post": post_train,
}
