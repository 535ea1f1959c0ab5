"""Items through the networks: text, source latents, sampling, decoding. Components leave as soon as nothing needs them.

Knows neither files nor sample rates other than the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np

from soundloom.audio.blocks import SlidingReader, Stream
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.noise import batch_noise
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.engines.stable_audio import Array, Component, Engine, NoiseFn
from soundloom.pipeline.progress import Stages
from soundloom.pipeline.stable_audio.chunks import decode_chunks, encode_chunks
from soundloom.pipeline.stable_audio.cuda_graph import RecordedClip, is_recordable
from soundloom.pipeline.stable_audio.plan import Batch, Item, make_batches
from soundloom.pipeline.stable_audio.velocity import TextBatch, VelocityField, negative_rows

MAX_BATCH = 16
CODEC_STEPS = 1 << 32  # the autoencoder's draws are numbered from here, far from the sampler's


class NoiseSource(Protocol):
    """Where a batch's random draws come from."""

    def latents(self, batch: Batch, step: int, channels: int) -> np.ndarray:
        """Return (b, channels, frames): step 0 for the start, i + 1 for what sampler step i adds."""
        ...

    def codec(self, batch: Batch) -> NoiseFn | None:
        """Return what draws the autoencoder's noise, or None for an autoencoder without noise."""
        ...


class PhiloxNoise:
    """Noise from each item's seed; the autoencoder is deterministic unless published behavior is asked for."""

    def latents(self, batch: Batch, step: int, channels: int) -> np.ndarray:
        return batch_noise([item.seed for item in batch.items], step, channels, batch.frames)

    def codec(self, batch: Batch) -> NoiseFn | None:
        if not batch.compat.codec_noise:
            return None
        draws = count(CODEC_STEPS)

        def draw(shape: Sequence[int]) -> np.ndarray:
            # The first axis holds the items, or the groups of tokens of one item after the other.
            rows, size = shape[0] // len(batch.items), math.prod(shape[1:])
            noise = batch_noise([item.seed for item in batch.items], next(draws), size, rows)
            return noise.swapaxes(1, 2).reshape(shape)

        return draw


@dataclass(frozen=True)
class Made:
    """What became of an item: latents (c, frames) and audio (channels, samples) at the model's rate."""

    latents: np.ndarray
    audio: np.ndarray


class Run:
    """The journey of items through an engine, once or several times."""

    def __init__(
        self,
        engine: Engine,
        config: ModelConfig,
        tokenize: Any,
        stages: Stages,
        *,
        keep_loaded: bool = False,
        noise: NoiseSource | None = None,
    ) -> None:
        self.engine, self.config, self.tokenize, self.stages = engine, config, tokenize, stages
        self.keep_loaded, self.noise = keep_loaded, noise or PhiloxNoise()
        self.cut: dict[int, str] = {}  # place of an item: what of its prompt did not fit
        self._read: tuple[Any, TextBatch] | None = None  # the last texts, which the next pass or group often repeats

    def __call__(self, items: Sequence[Item]) -> list[Made]:
        """Return what was made of each item, in order."""
        self.cut = {}
        batches = make_batches(items, MAX_BATCH)
        texts = self._texts(batches)
        self._free("text")
        sources = self._sources(batches)
        self._free("encoder")
        latents, sounds = self._latents(batches, texts, sources)
        self._free("dit", "conditioner")
        audio = self._audio(batches, latents, sounds)
        self._free("decoder")
        made = {}
        for batch, batch_latents, batch_audio in zip(batches, latents, audio, strict=True):
            for place, one, sound in zip(batch.places, batch_latents, batch_audio, strict=True):
                made[place] = Made(one, sound)
        return [made[place] for place in range(len(items))]

    def _free(self, *components: Component) -> None:
        if not self.keep_loaded:
            self.engine.free(*components)

    # Text

    def _texts(self, batches: Sequence[Batch]) -> list[TextBatch]:
        with self.stages.stage("text", len(batches)) as tick:
            return [self._text(batch, i, tick) for i, batch in enumerate(batches, 1)]

    def _text(self, batch: Batch, done: int, tick: Any) -> TextBatch:
        length = self.config.model.conditioning.prompt.max_length
        tokens = self.tokenize([item.job.request.prompt for item in batch.items], length)
        negatives = [item.job.request.negative_prompt for item in batch.items]
        if batch.compat.negative_padding == "learned":
            negatives = [negative or None for negative in negatives]  # the MLX runtime takes "" for none
        negative_tokens = self.tokenize([negative or "" for negative in negatives], length)
        wanted = batch.first.guidance.scale != 1 and any(negative is not None for negative in negatives)
        unheard = (tokens.truncated, negative_tokens.truncated) if wanted else (tokens.truncated,)
        for place, *parts in zip(batch.places, *unheard, strict=True):
            if any(parts):
                self.cut[place] = " … ".join(filter(None, parts))
        kept = self._kept_tokens(tokens.mask, negative_tokens.mask)
        tokens, negative_tokens = tokens.first(kept), negative_tokens.first(kept)
        arrays = (tokens.ids, tokens.mask, negative_tokens.ids, negative_tokens.mask)
        key = (wanted, batch.compat.negative_padding, *negatives, *(array.tobytes() for array in arrays))
        if self._read is not None and self._read[0] == key:
            tick(done)
            return self._read[1]
        result = TextBatch(
            self.engine.encode_text(tokens.ids, tokens.mask),
            tokens.mask,
            self.engine.encode_text(negative_tokens.ids, negative_tokens.mask) if wanted else None,
            negative_tokens.mask,
            negative_rows(negatives, negative_tokens, batch.compat.negative_padding == "learned"),
            repeats=length - kept + 1,
        )
        self._read = key, result
        tick(done)
        return result

    def _kept_tokens(self, *masks: np.ndarray) -> int:
        """Return how many tokens tell prompts apart: the longest and one of padding, where that is one for all."""
        length = masks[0].shape[1]
        if self.config.model.conditioning.prompt.padding_mode == "none":
            return length
        return min(length, max(int(mask.sum(axis=1).max()) for mask in masks) + 1)

    # Sources of edits

    def _sources(self, batches: Sequence[Batch]) -> list[np.ndarray | None]:
        edits = sum(batch.is_edit for batch in batches)
        if not edits:
            return [None] * len(batches)
        with self.stages.stage("encode", edits) as tick:
            sources: list[np.ndarray | None] = []
            for batch in batches:
                sources.append(self._source(batch) if batch.is_edit else None)
                tick(sum(source is not None for source in sources))
            return sources

    def _source(self, batch: Batch) -> np.ndarray:
        """Encode the sources of a batch (b, c, frames), cut or continued with silence to its length."""
        samples = batch.frames * self.config.same.downsampling_ratio
        audio = np.stack([fit(item.audio, samples) for item in batch.items if item.audio is not None])
        latents = encode_audio(self.engine, self.config, audio, batch.compat.chunks, self.noise.codec(batch))
        return latents[..., : batch.frames]

    # Sampling

    def _latents(
        self, batches: Sequence[Batch], texts: Sequence[TextBatch], sources: Sequence[np.ndarray | None]
    ) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """Return the latents of each batch, and its sound where one recording makes both."""
        steps = sum(batch.first.steps for batch in batches)
        with self.stages.stage("sample", steps) as tick:
            done, latents, sounds = 0, [], []
            for batch, text, source in zip(batches, texts, sources, strict=True):
                x, sound = None, None
                if self.keep_loaded and is_recordable(self.engine, batch):
                    x, sound = self._replayed(batch, text, source)
                    done += batch.first.steps
                    tick(done)
                else:
                    for x in self._sample(batch, text, source):
                        self.engine.evaluate(x)
                        done += 1
                        tick(done)
                latents.append(self._finish(batch, self.engine.numpy(x), source))
                sounds.append(sound)
            return latents, sounds

    def _sample(self, batch: Batch, text: TextBatch, source: np.ndarray | None) -> Iterator[Array]:
        """Yield the latents after each step."""
        array, schedule = self.engine.array, batch.schedule(self.config)
        points = Times(schedule, array)
        field = VelocityField(self.engine, batch, text, array(self._local(batch, source)), points.shared)
        x = array(self._start(batch, schedule, source))
        return SAMPLERS[batch.first.sampler](field, x, points, lambda step: array(self._draw(batch, step + 1)))

    def _start(self, batch: Batch, schedule: np.ndarray, source: np.ndarray | None) -> np.ndarray:
        """Return noise, or the source with as much noise as the first time of a schedule (b, points) says."""
        noise = self._draw(batch, 0)
        if source is None:
            return noise
        level = schedule[:, :1, None].astype(np.float32)
        return source * (1 - level) + noise * level

    def _draw(self, batch: Batch, step: int) -> np.ndarray:
        return self.noise.latents(batch, step, self.config.model.io_channels)

    def _replayed(self, batch: Batch, text: TextBatch, source: np.ndarray | None) -> tuple[Array, np.ndarray]:
        """Sample and decode as one series of operations that the engine knows by heart; return latents and sound."""
        schedule, local = batch.schedule(self.config), self._local(batch, source)
        field = VelocityField(self.engine, batch, text, self.engine.array(local))
        keep = batch.keep(self.config.same.downsampling_ratio) if batch.compat.keep != "learned" else None
        clip = RecordedClip(self.engine, self.config, batch, field, schedule)
        return clip(self._start(batch, schedule, source), lambda step: self._draw(batch, step + 1), source, keep)

    def _local(self, batch: Batch, source: np.ndarray | None) -> np.ndarray:
        """Return mask and masked latents (b, 1 + c, frames), or one frame of zeros where nothing is inpainted."""
        keep = batch.keep(self.config.same.downsampling_ratio)
        if keep is None or source is None:
            return np.zeros((1, 1 + self.config.model.io_channels, 1), dtype=np.float32)
        return np.concatenate([keep, source * keep], axis=1)

    def _finish(self, batch: Batch, x: np.ndarray, source: np.ndarray | None) -> np.ndarray:
        """Put the source's own latents back where they are kept, so that new frames are decoded beside true ones."""
        keep = batch.keep(self.config.same.downsampling_ratio)
        if keep is None or source is None or batch.compat.keep == "learned":
            return x
        return np.where(keep == 1, source, x)

    # Audio

    def _audio(
        self, batches: Sequence[Batch], latents: Sequence[np.ndarray], sounds: Sequence[np.ndarray | None]
    ) -> list[list[np.ndarray]]:
        with self.stages.stage("decode", len(batches)) as tick:
            audio = []
            for batch, x, sound in zip(batches, latents, sounds, strict=True):
                if sound is None:
                    sound = decode_latents(self.engine, self.config, x, batch.compat.chunks, self.noise.codec(batch))
                audio.append(self._cut(batch, sound))
                tick(len(audio))
            return audio

    def _cut(self, batch: Batch, sounds: np.ndarray) -> list[np.ndarray]:
        """Return the sound of each item, as long as it was asked to be."""
        whole = batch.compat.batch == "shared" and len({item.samples for item in batch.items}) > 1
        valid = batch.valid()
        if valid is not None:
            ratio = self.config.same.downsampling_ratio
            real = np.repeat(valid, ratio, axis=1)[:, None]
            sounds = sounds * np.pad(real, ((0, 0), (0, 0), (0, sounds.shape[-1] - real.shape[-1])))
        return [sound if whole else sound[:, : item.samples] for item, sound in zip(batch.items, sounds, strict=True)]


def encode_audio(
    engine: Engine, config: Any, audio: np.ndarray, algorithm: Any = "exact", draw: NoiseFn | None = None
) -> np.ndarray:
    """Return latents (b, c, t) of audio (b, channels, samples) in pieces."""
    plan = encode_chunks(audio.shape[-1], config.same, algorithm)
    return plan.run(audio, lambda piece: engine.encode(piece, draw))


def encode_stream(engine: Engine, config: Any, sound: Stream) -> np.ndarray:
    """Return latents (c, t) of stereo sound that is read once, no more than a piece of it at a time."""
    plan = encode_chunks(sound.samples, config.same, "exact")
    latents: np.ndarray = plan.run(SlidingReader(sound), lambda piece: engine.encode(piece[None], None))[0]
    return latents


def decode_latents(
    engine: Engine, config: Any, latents: np.ndarray, algorithm: Any = "exact", draw: NoiseFn | None = None
) -> np.ndarray:
    """Return audio (b, channels, samples) of latents (b, c, t) in pieces."""
    plan = decode_chunks(latents.shape[-1], config.same, algorithm)
    return plan.run(latents, lambda piece: engine.decode(piece, draw))


def fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Cut audio (channels, n) to a length, or continue it with silence."""
    return np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))
