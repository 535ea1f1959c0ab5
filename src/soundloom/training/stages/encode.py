"""Encode the sounds that the generator is trained on to latents."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from soundloom.config.parse import to_dict
from soundloom.datasets.encoding import encode_dataset
from soundloom.datasets.fidelity import COMPARED_CLIPS, fidelity_warning
from soundloom.datasets.latents import LatentFolderWriter
from soundloom.errors import RequestError, TrainingError
from soundloom.training.data.latents import encode_sounds, write_latents
from soundloom.training.data.synthetic import SyntheticSounds
from soundloom.training.stages.context import StableAudioContext

log = logging.getLogger(__name__)


def run(context: StableAudioContext) -> bool:
    """Encode what has not been encoded with the current autoencoder and settings."""
    if context.distributed.is_main:
        if context.dit_sounds is None:
            _encode_dataset(context)
        else:
            _encode_synthetic(context, context.dit_sounds)
    return True


def _encode_synthetic(context: StableAudioContext, sounds: SyntheticSounds) -> None:
    run_dir, settings = context.run_dir, to_dict(sounds.config)
    latents, weights = run_dir.latents, run_dir.weights("autoencoder")
    is_current = latents.is_file() and not (
        (weights.is_file() and latents.stat().st_mtime < weights.stat().st_mtime)
        or any(run_dir.changes("encode", settings))
    )
    if is_current and not context.restart:
        return
    write_latents(latents, encode_sounds(context.autoencoder(), sounds))
    if context.pretrained:
        codec, clips = context.codec(), map(sounds.clip, range(min(COMPARED_CLIPS, len(sounds))))
        _warn_of_loss(context, [codec.difference(clip.audio, clip.sample_rate) for clip in clips])
    run_dir.save_settings("encode", settings)


def _encode_dataset(context: StableAudioContext) -> None:
    assert context.data is not None
    if context.holds_latents:
        raise RequestError(f"{context.data.path} already holds latents", "continue with train dit")
    if context.restart:
        context.run_dir.remove("encode")
    writer = LatentFolderWriter(context.run_dir.encoded_dataset)
    summary = encode_dataset(context.dataset, writer, context.codec(), context.data.selection)
    for skipped in summary.skipped:
        log.warning("skipped %s: %s", skipped.origin, skipped.reason)
    log.info("%d encoded, %d unchanged, %d skipped", summary.encoded, summary.unchanged, len(summary.skipped))
    _warn_of_loss(context, summary.differences)
    if summary.orphaned:
        log.warning("%d latents are of sounds that no longer exist, and are not used", summary.orphaned)
    if not summary.stored:
        raise TrainingError(f"nothing in {context.data.path} could be encoded", "the warnings above say why")


def _warn_of_loss(context: StableAudioContext, differences: Sequence[float]) -> None:
    name = context.pretrained.checkpoint.name if context.pretrained else "this run"
    if warning := fidelity_warning(name, differences):
        log.warning("%s", warning)
