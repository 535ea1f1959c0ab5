"""Run planned clips through the networks: text encoding, source encoding, sampling, decoding.

Each component leaves memory as soon as nothing needs it. This module knows neither files nor sample rates other than
the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.diffusion.noise import batch_noise
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.engines.stable_audio import Array, Component, Engine, NoiseFn
from soundloom.pipeline.progress import ProgressReporter
from soundloom.pipeline.stable_audio.adapters import AdapterSchedule, ModelAdapters, schedule_adapters
from soundloom.pipeline.stable_audio.assembler import ClipAssembler
from soundloom.pipeline.stable_audio.chunks import decode_latents, encode_audio, pad_or_trim
from soundloom.pipeline.stable_audio.cuda_graph import CapturedClip, is_capturable
from soundloom.pipeline.stable_audio.plan import BatchPlan, PlannedClip, PlannedPass, make_batches
from soundloom.pipeline.stable_audio.prompts import PromptTokens
from soundloom.pipeline.stable_audio.velocity import Embeddings, TextBatch, VelocityField
from soundloom.text.tokenizer import Tokenizer, Tokens

CODEC_STEPS = 1 << 32  # the autoencoder's noise is numbered from here, far from the sampler's
TOKEN_STEP = 32


class PhiloxNoise:
    """The noise of a batch, from the seed of each pass."""

    def latents(self, batch: BatchPlan, step: int, channels: int) -> np.ndarray:
        """Return (b, channels, frames): step 0 for the start, i + 1 for what sampler step i adds."""
        return batch_noise([one.seed for one in batch.passes], step, channels, batch.frames)

    def codec(self, batch: BatchPlan) -> NoiseFn | None:
        """Return the noise function of the autoencoder, None unless published behavior is requested."""
        if not batch.compat.codec_noise:
            return None
        steps = count(CODEC_STEPS)

        def noise(shape: Sequence[int]) -> np.ndarray:
            # The first axis holds the passes, or the groups of tokens of one pass after the other.
            rows, size = shape[0] // len(batch.passes), math.prod(shape[1:])
            values = batch_noise([one.seed for one in batch.passes], next(steps), size, rows)
            return values.swapaxes(1, 2).reshape(shape)

        return noise


@dataclass(frozen=True)
class PassResult:
    """Latents (c, frames) and audio (channels, samples) of a pass, at the model's rate.

    `truncated` is the part of its prompts that the text encoder does not read.
    """

    latents: np.ndarray
    audio: np.ndarray
    truncated: str = ""


class Executor:
    """Runs clips on an engine."""

    def __init__(
        self,
        engine: Engine,
        config: ModelConfig,
        tokenize: Tokenizer,
        reporter: ProgressReporter,
        adapters: ModelAdapters | None = None,
        *,
        keep_loaded: bool = False,
        noise: PhiloxNoise | None = None,
    ) -> None:
        self.engine, self.config, self.tokenize, self.reporter = engine, config, tokenize, reporter
        self.adapters = adapters
        self.keep_loaded, self.noise = keep_loaded, noise or PhiloxNoise()
        self._truncated: dict[int, str] = {}  # by the index of a pass
        self._last_text: tuple[Any, TextBatch] | None = None  # the next pass or group often repeats it

    def execute(self, clips: Sequence[PlannedClip], keep_loaded: bool) -> list[ClipAssembler]:
        """Run all passes of clips; the next passes of all clips run together. Networks may stay loaded afterwards."""
        assemblers = [ClipAssembler(clip, self.config, self.engine.precision) for clip in clips]
        while waiting := [(one, planned) for one in assemblers if (planned := one.next_pass()) is not None]:
            self.keep_loaded = keep_loaded or any(one.passes_left > 1 for one in assemblers)
            for (assembler, _), result in zip(waiting, self.run([planned for _, planned in waiting]), strict=True):
                assembler.truncated = result.truncated
                assembler.accept(result.audio)
        return assemblers

    def run(self, passes: Sequence[PlannedPass]) -> list[PassResult]:
        """Run each pass once through all networks; return the results in order."""
        self._truncated = {}
        batches = make_batches(passes, self.config)
        schedules = [schedule_adapters(self.adapters, self.engine, batch) for batch in batches]
        texts = self._texts(batches)
        self._free("text")
        sources = self._sources(batches)
        self._free("encoder")
        latents, decoded = self._latents(batches, texts, sources, schedules)
        self._free("dit", "conditioner")
        audio = self._audio(batches, latents, decoded)
        self._free("decoder")
        results = {}
        for batch, batch_latents, batch_audio in zip(batches, latents, audio, strict=True):
            for place, one, trimmed in zip(batch.places, batch_latents, batch_audio, strict=True):
                results[place] = PassResult(one, trimmed, self._truncated.get(place, ""))
        return [results[place] for place in range(len(passes))]

    def _free(self, *components: Component) -> None:
        if not self.keep_loaded:
            self.engine.free(*components)

    # Text

    def _texts(self, batches: Sequence[BatchPlan]) -> list[TextBatch]:
        with self.reporter.stage("text", len(batches)) as tick:
            return [self._text(batch, i, tick) for i, batch in enumerate(batches, 1)]

    def _text(self, batch: BatchPlan, done: int, tick: Any) -> TextBatch:
        length, style = self.config.model.conditioning.prompt.max_length, batch.compat.weights
        prompts, negatives, second = self._prompts(batch)
        is_guided = batch.first.guidance.scale != 1 and any(negative is not None for negative in negatives)
        tokens = PromptTokens.of(prompts, self.tokenize, length, style)
        negative_tokens = PromptTokens.of([text or "" for text in negatives], self.tokenize, length, style)
        parts = [tokens, negative_tokens]
        if second is not None:
            parts.append(PromptTokens.of(second, self.tokenize, length, style))
        used = [part for part in parts if part is not negative_tokens or is_guided]
        for place, *truncated in zip(batch.places, *(part.tokens.truncated for part in used), strict=True):
            if any(truncated):
                self._truncated[place] = " … ".join(dict.fromkeys(filter(None, truncated)))
        needed = self._needed_tokens(*(part.tokens.mask for part in parts))
        parts = [part.first(needed) for part in parts]
        key = (is_guided, batch.compat.negative_padding, *negatives, *(part.key for part in parts))
        if self._last_text is not None and self._last_text[0] == key:
            tick(done)
            return self._last_text[1]
        result = TextBatch(
            parts[0].encode(self.engine),
            None if second is None else parts[2].encode(self.engine),
            parts[1].encode(self.engine) if is_guided else None,
            _negative_rows(negatives, parts[1].tokens, batch.compat.negative_padding == "learned"),
            repeats=length - needed + 1,
        )
        self._last_text = key, result
        tick(done)
        return result

    def _prompts(self, batch: BatchPlan) -> tuple[list[str], list[str | None], list[str] | None]:
        """Return the prompts, the negative ones, and the second ones if any pass follows two prompts."""
        blends = [one.clip.request.blend for one in batch.passes]
        negatives = [one.clip.request.negative_prompt for one in batch.passes]
        if batch.compat.negative_padding == "learned":
            negatives = [negative or None for negative in negatives]  # the MLX runtime takes "" for none
        prompts = [first for first, _, _ in blends]
        if all(second is None for _, second, _ in blends):
            return prompts, negatives, None
        return prompts, negatives, [first if second is None else second for first, second, _ in blends]

    def _needed_tokens(self, *masks: np.ndarray) -> int:
        """Return how many tokens the encoder needs: those of the longest prompt, and one of padding if all are equal.

        It is a multiple of TOKEN_STEP, so that the rounding of a clip seldom depends on the other prompts of its batch.
        """
        length = masks[0].shape[1]
        if self.config.model.conditioning.prompt.padding_mode == "none":
            return length
        needed = max(int(mask.sum(axis=1).max()) for mask in masks) + 1
        return min(length, math.ceil(needed / TOKEN_STEP) * TOKEN_STEP)

    # Sources of edits

    def _sources(self, batches: Sequence[BatchPlan]) -> list[np.ndarray | None]:
        edits = sum(batch.is_edit for batch in batches)
        if not edits:
            return [None] * len(batches)
        with self.reporter.stage("encode", edits) as tick:
            sources: list[np.ndarray | None] = []
            for batch in batches:
                sources.append(self._source(batch) if batch.is_edit else None)
                tick(sum(source is not None for source in sources))
            return sources

    def _source(self, batch: BatchPlan) -> np.ndarray:
        """Encode the sources of a batch (b, c, frames), padded with silence or trimmed to its length."""
        samples = batch.frames * self.config.same.downsampling_ratio
        audio = np.stack([pad_or_trim(one.audio, samples) for one in batch.passes if one.audio is not None])
        latents = encode_audio(self.engine, self.config, audio, batch.compat.chunks, self.noise.codec(batch))
        return latents[..., : batch.frames]

    # Sampling

    def _latents(
        self,
        batches: Sequence[BatchPlan],
        texts: Sequence[TextBatch],
        sources: Sequence[np.ndarray | None],
        schedules: Sequence[AdapterSchedule],
    ) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
        """Return the latents of each batch, and its audio where one CUDA graph computes both."""
        steps = sum(batch.first.steps for batch in batches)
        with self.reporter.stage("sample", steps) as tick:
            done, latents, decoded = 0, [], []
            for batch, text, source, adapters in zip(batches, texts, sources, schedules, strict=True):
                x, audio = None, None
                adapters.begin()
                if self.keep_loaded and is_capturable(self.engine, batch, adapters):
                    x, audio = self._sample_graph(batch, text, source, adapters)
                    done += batch.first.steps
                    tick(done)
                else:
                    for x in self._sample(batch, text, source, adapters):
                        self.engine.evaluate(x)
                        done += 1
                        tick(done)
                latents.append(self._finish(batch, self.engine.numpy(x), source))
                decoded.append(audio)
            return latents, decoded

    def _sample(
        self, batch: BatchPlan, text: TextBatch, source: np.ndarray | None, adapters: AdapterSchedule
    ) -> Iterator[Array]:
        """Yield the latents after each step."""
        array = self.engine.array
        points, x = Times(batch.times, array), array(self._start(batch, source))
        embeddings = self._embeddings(batch, text, array(self._local(batch, source)))
        field = VelocityField(self.engine, batch, embeddings, adapters.calls(), points.shared)
        return SAMPLERS[batch.first.sampler](field, x, points, lambda step: array(self._noise(batch, step + 1)))

    def _embeddings(self, batch: BatchPlan, text: TextBatch, local: Array) -> Embeddings:
        frame_seconds = self.config.same.downsampling_ratio / self.config.sample_rate
        return Embeddings.of(self.engine, batch, text, local, frame_seconds)

    def _start(self, batch: BatchPlan, source: np.ndarray | None) -> np.ndarray:
        """Return noise, or the source with the noise level of the first time."""
        noise = self._noise(batch, 0)
        if source is None:
            return noise
        level = batch.times[:, :1, None].astype(np.float32)
        return source * (1 - level) + noise * level

    def _noise(self, batch: BatchPlan, step: int) -> np.ndarray:
        return self.noise.latents(batch, step, self.config.model.io_channels)

    def _sample_graph(
        self, batch: BatchPlan, text: TextBatch, source: np.ndarray | None, adapters: AdapterSchedule
    ) -> tuple[Array, np.ndarray]:
        """Sample and decode as one CUDA graph; return latents and audio."""
        local = self.engine.array(self._local(batch, source))
        keep = batch.keep if batch.compat.keep != "learned" else None
        embeddings = self._embeddings(batch, text, local)
        clip = CapturedClip(self.engine, self.config, batch, embeddings, adapters)
        return clip(self._start(batch, source), lambda step: self._noise(batch, step + 1), source, keep)

    def _local(self, batch: BatchPlan, source: np.ndarray | None) -> np.ndarray:
        """Return mask and masked latents (b, 1 + c, frames), or one frame of zeros when nothing is inpainted."""
        keep = batch.keep
        if keep is None or source is None:
            return np.zeros((1, 1 + self.config.model.io_channels, 1), dtype=np.float32)
        return np.concatenate([keep, source * keep], axis=1)

    def _finish(self, batch: BatchPlan, x: np.ndarray, source: np.ndarray | None) -> np.ndarray:
        """Restore the source's latents in preserved frames, so that new frames are decoded beside true ones."""
        keep = batch.keep
        if keep is None or source is None or batch.compat.keep == "learned":
            return x
        return np.where(keep == 1, source, x)

    # Audio

    def _audio(
        self, batches: Sequence[BatchPlan], latents: Sequence[np.ndarray], decoded: Sequence[np.ndarray | None]
    ) -> list[list[np.ndarray]]:
        with self.reporter.stage("decode", len(batches)) as tick:
            audio = []
            for batch, x, batch_audio in zip(batches, latents, decoded, strict=True):
                if batch_audio is None:
                    noise = self.noise.codec(batch)
                    batch_audio = decode_latents(self.engine, self.config, x, batch.compat.chunks, noise)
                audio.append(self._trim(batch, batch_audio))
                tick(len(audio))
            return audio

    def _trim(self, batch: BatchPlan, decoded: np.ndarray) -> list[np.ndarray]:
        """Return the audio of each pass, trimmed to the requested length."""
        keep_all = batch.compat.batch == "shared" and len({one.samples for one in batch.passes}) > 1
        valid = batch.valid
        if valid is not None:
            ratio = self.config.same.downsampling_ratio
            real = np.repeat(valid, ratio, axis=1)[:, None]
            decoded = decoded * np.pad(real, ((0, 0), (0, 0), (0, decoded.shape[-1] - real.shape[-1])))
        return [
            audio if keep_all else audio[:, : one.samples] for one, audio in zip(batch.passes, decoded, strict=True)
        ]


def _negative_rows(negatives: Sequence[str | None], tokens: Tokens, learned: bool) -> np.ndarray:
    """Return (b, s + 1, 1) of ones and zeros: the rows of the negative context that count, duration last.

    Without a negative prompt none do, as in training. With one, the duration does; the published package also zeros
    the rows without a token, while its MLX runtime keeps the learned padding in them.
    """
    rows = np.concatenate([tokens.mask | learned, np.ones((len(negatives), 1), dtype=bool)], axis=1)
    rows &= np.array([negative is not None for negative in negatives])[:, None]
    return rows.astype(np.float32)[..., None]
