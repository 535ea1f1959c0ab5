"""Requests to MusicGen carried out: prompts read, sounds coded, codes made window by window, and decoded.

Each network works for all clips and windows before the next one is loaded: of long sounds only the codes wait, which
are small. Positions are frames of the codec, except where samples are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from soundloom.audio.channels import to_channels
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resample, resampled_length
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.sampling import exponential_noise
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.musicgen.sampling import Sampling
from soundloom.diffusion.noise import random_seed
from soundloom.engines.musicgen import MusicEngine, TextEmbeddings
from soundloom.errors import RequestError, shown
from soundloom.pipeline.musicgen.windows import Joined, Window, plan_windows
from soundloom.pipeline.progress import Stages
from soundloom.pipeline.stable_audio.run import MAX_BATCH, fit
from soundloom.text.instructions import Instruction, normalize_instruction
from soundloom.text.t5_tokens import T5Tokenizer

DEFAULT_SECONDS = 10.0
EDIT_OVERLAP, MAKE_OVERLAP = 0.2, 0.4  # of a window, that the next one repeats; the latter is the published one
_WINDOW_KEY = 32  # bits by which the number of a window is shifted in the key of its noise


@dataclass(frozen=True)
class MusicJob:
    """A request with everything decided. `audio` reads what is edited (1, samples), at the model's rate.

    `text` is what the model is told; `rate` and `channels` are those of the result, `samples` its length at the
    model's rate. Jobs of equal `batch` are made together, so many at most that memory stays flat.
    """

    request: MusicRequest
    text: str
    seed: int
    sampling: Sampling
    windows: tuple[Window, ...]
    samples: int
    rate: int
    channels: int
    audio: Callable[[], np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def is_edit(self) -> bool:
        return self.request.source is not None

    @property
    def batch(self) -> tuple[Any, ...]:
        return self.windows, self.sampling, self.request.guidance, self.is_edit

    def record(self) -> dict[str, Any]:
        """The request with defaults resolved."""
        seconds = None if self.is_edit else self.samples / self.rate
        return self.request.to_record(seconds=seconds, seed=self.seed, top_k=self.sampling.top_k)


def make_jobs(requests: Iterable[MusicRequest], config: MusicGenConfig) -> list[MusicJob]:
    """Decide what requests leave open; those about one sound share what is heard of it.

    Raises RequestError for what this model cannot do.
    """
    heard: dict[Clip, Callable[[], np.ndarray]] = {}
    return [_make_job(request, config, heard) for request in requests]


def _make_job(request: MusicRequest, config: MusicGenConfig, heard: dict[Clip, Callable[[], np.ndarray]]) -> MusicJob:
    seed = random_seed() if request.seed is None else request.seed
    sampling = request.sampling(config.default_top_k)
    if request.source is not None:
        return _edit_job(request, config, seed, sampling, heard)
    if config.instruct is not None:
        raise RequestError(
            "this model edits sounds and has none to edit",
            "edit one with `soundloom edit IN`, or take a musicgen model",
        )
    samples = round((request.seconds or DEFAULT_SECONDS) * config.sample_rate)
    frames, longest = config.encodec.frames(samples), round(config.max_seconds * config.frame_rate)
    if not frames:
        raise RequestError(f"{request.seconds:g} s are less than one sample at {config.sample_rate} Hz")
    windows = tuple(plan_windows(frames, longest, longest, MAKE_OVERLAP))
    rate, channels = config.sample_rate, config.lm.audio_channels
    return MusicJob(request, request.prompt, seed, sampling, windows, samples, rate, channels, _nothing)


def _edit_job(
    request: MusicRequest,
    config: MusicGenConfig,
    seed: int,
    sampling: Sampling,
    heard: dict[Clip, Callable[[], np.ndarray]],
) -> MusicJob:
    source = request.source
    if config.instruct is None or source is None:
        raise RequestError("this model has no adapter and cannot edit", "take instruct-musicgen")
    if request.seconds is not None:
        raise RequestError("an edit is as long as its source", "leave seconds out")
    known = config.instruct.instruments
    told = (
        Instruction(request.prompt, seen_in_training=True)
        if request.raw
        else normalize_instruction(request.prompt, known)
    )
    window = request.window or config.instruct.window
    size, longest = round(window * config.frame_rate), config.instruct.max_frames
    if source not in heard:
        heard[source] = cache(partial(as_heard, source, config.sample_rate))
    samples = resampled_length(source.samples, source.sample_rate, config.sample_rate)
    windows = tuple(plan_windows(config.encodec.frames(samples), size, longest, EDIT_OVERLAP))
    notes = []
    if not told.seen_in_training:
        names = ", ".join(known)
        notes.append(
            f"the model was not trained on '{shown(told.text)}', but to add, remove and extract one of {names}"
        )
    if window > config.instruct.window:
        notes.append(f"the model was trained on {config.instruct.window:g} s; windows of {window:g} s are beyond that")
    rate, channels = source.sample_rate, source.channels
    return MusicJob(request, told.text, seed, sampling, windows, samples, rate, channels, heard[source], tuple(notes))


def _nothing() -> np.ndarray:
    return np.zeros((1, 0), np.float32)


def as_heard(clip: Clip, rate: int) -> np.ndarray:
    """The mean of a clip's channels (1, samples) at the model's rate."""
    return resample(to_channels(clip.audio, 1), clip.sample_rate, rate)


class MusicRun:
    """Carries out jobs on an engine."""

    def __init__(
        self,
        engine: MusicEngine,
        config: MusicGenConfig,
        tokenizer: T5Tokenizer,
        stages: Stages,
        *,
        keep_loaded: bool = False,
        mask_padding: bool = True,
    ) -> None:
        self.engine, self.config, self.tokenizer, self.stages = engine, config, tokenizer, stages
        self.keep_loaded, self.mask_padding = keep_loaded, mask_padding

    def __call__(self, jobs: Sequence[MusicJob]) -> list[np.ndarray]:
        """Return the sound (channels, samples) of each job at its own rate."""
        with self.stages.stage("text", 1):
            tokens = self.tokenizer([job.text for job in jobs])
            reading = self.engine.encode_text(tokens.ids, tokens.mask)
            self._free("text")
        heard = self._encode(jobs)
        codes = self._make(jobs, reading, heard)
        return self._decode(jobs, codes)

    def _free(self, *components: Any) -> None:
        if not self.keep_loaded:
            self.engine.free(*components)

    def _encode(self, jobs: Sequence[MusicJob]) -> list[list[np.ndarray]]:
        """Return the codes (1, q, t) of each window of each job; none of jobs without a source."""
        edits = [job for job in jobs if job.is_edit]
        if not edits:
            return [[] for _ in jobs]
        hop, known = self.config.encodec.hop, dict[tuple[Any, ...], list[np.ndarray]]()
        with self.stages.stage("encode", len(edits)) as tick:
            for done, job in enumerate(edits, 1):
                key = id(job.request.source), job.windows  # several instructions may be for one sound
                if key not in known:
                    audio = job.audio()[None]
                    pieces = (audio[..., window.start * hop : window.stop * hop] for window in job.windows)
                    known[key] = [self.engine.encode(piece) for piece in pieces]
                tick(done)
            self._free("codec")
        return [known.get((id(job.request.source), job.windows), []) for job in jobs]

    def _make(
        self, jobs: Sequence[MusicJob], reading: TextEmbeddings, heard: Sequence[list[np.ndarray]]
    ) -> list[list[np.ndarray]]:
        """Return the codes (q, t) that were made for each window of each job."""
        alike: dict[tuple[Any, ...], list[int]] = {}
        for index, job in enumerate(jobs):
            alike.setdefault(job.batch, []).append(index)
        batches = [
            places[start : start + MAX_BATCH] for places in alike.values() for start in range(0, len(places), MAX_BATCH)
        ]
        made: list[list[np.ndarray]] = [[] for _ in jobs]
        with self.stages.stage("codes", sum(self._seconds(jobs[first]) for first, *_ in batches)) as tick:
            before = 0
            for members in batches:
                batch = [jobs[index] for index in members]
                rows = TextEmbeddings(reading.hidden[members], reading.mask[members])
                sources = [np.concatenate(codes) for codes in zip(*(heard[index] for index in members), strict=True)]
                for codes, frames in self._make_batch(batch, rows, sources):
                    tick(before + int(frames / self.config.frame_rate))
                    if codes is not None:
                        for index, own in zip(members, codes, strict=True):
                            made[index].append(own)
                before += self._seconds(batch[0])
            self._free("lm", "adapter")
        return made

    def _seconds(self, job: MusicJob) -> int:
        """Seconds of sound that a job's windows cover, rounded up."""
        return int(-(-job.windows[-1].stop // self.config.frame_rate))

    def _make_batch(
        self, jobs: Sequence[MusicJob], reading: TextEmbeddings, sources: Sequence[np.ndarray]
    ) -> Iterator[tuple[np.ndarray | None, int]]:
        """Yield after each step how many frames are there, and behind a window its codes (b, q, t)."""
        lm, guidance, known = self.config.lm, jobs[0].request.guidance, None
        for number, window in enumerate(jobs[0].windows):
            prompt = known[..., -window.known :] if known is not None else None
            request = TokenRequest(len(jobs), window.stop - window.start, jobs[0].sampling, guidance, prompt)
            capacity = count_steps(lm, request) + request.prompt_frames
            source = sources[number] if sources else None
            decoder = self.engine.decoder(reading, capacity, guidance != 1, source, self.mask_padding)
            for step in generate(lm, request, decoder, self._noise(jobs, number)):
                known = step.tokens
                yield None, window.start + step.frames
            yield known, window.stop

    def _noise(self, jobs: Sequence[MusicJob], window: int) -> Callable[[int], np.ndarray]:
        """Noise that depends on a job's seed, the window and the step, and on nothing else."""
        lm, seeds = self.config.lm, [job.seed for job in jobs]
        return lambda step: exponential_noise(seeds, (window << _WINDOW_KEY) + step, lm.num_codebooks, lm.vocab_size)

    def _decode(self, jobs: Sequence[MusicJob], codes: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
        """Return the sound of each job, its windows joined."""
        sounds = []
        hop, rate = self.config.encodec.hop, self.config.sample_rate
        with self.stages.stage("decode", sum(len(job.windows) for job in jobs)) as tick:
            done = 0
            for job, made in zip(jobs, codes, strict=True):
                joined = Joined(self.config.lm.audio_channels, job.samples, rate)
                for window, own in zip(job.windows, made, strict=True):
                    joined.add(window.start * hop, self._sides(own))
                    done += 1
                    tick(done)
                sounds.append(_finish(joined.sound, job, rate))
            self._free("codec")
        return sounds

    def _sides(self, codes: np.ndarray) -> np.ndarray:
        """Return the sound (c, n) of codes (q, t), whose codebooks take turns among the channels."""
        channels = self.config.lm.audio_channels
        return np.concatenate([self.engine.decode(codes[None, side::channels])[0] for side in range(channels)])


def _finish(sound: np.ndarray, job: MusicJob, rate: int) -> np.ndarray:
    """Bring what was made to the rate, channels and exact length of the result."""
    if job.request.source is None:
        return sound
    return to_channels(fit(resample(sound, rate, job.rate), job.request.source.samples), job.channels)
