"""The Stable Audio model: text to audio, edits, and the autoencoder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import Unpack, get_args, overload

import numpy as np

from soundloom.audio.channels import to_stereo
from soundloom.audio.clip import Clip, ClipOrPath, as_clip
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import GenerationRequest, Region
from soundloom.config.stable_audio.rhythm import DEFAULT_METER
from soundloom.engines.forks import require_threads
from soundloom.engines.stable_audio import Component, Engine
from soundloom.errors import EngineError, RequestError
from soundloom.pipeline.model import BaseModel
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.progress import ProgressCallback, ProgressReporter
from soundloom.pipeline.stable_audio.assembler import ClipAssembler
from soundloom.pipeline.stable_audio.chunks import decode_chunks, decode_latents, encode_stream
from soundloom.pipeline.stable_audio.executor import Executor
from soundloom.pipeline.stable_audio.lora import LoraMethods
from soundloom.pipeline.stable_audio.options import EditKwargs, GenerateKwargs
from soundloom.pipeline.stable_audio.plan import PlannedClip, default_seconds, plan
from soundloom.pipeline.stable_audio.requests import (
    Rhythm,
    extend_request,
    generate_requests,
    inpaint_request,
    loop_request,
    vary_request,
)
from soundloom.pipeline.stable_audio.warnings import request_warnings
from soundloom.text.tokenizer import Tokenizer
from soundloom.text.vocabulary import CaptionVocabulary

log = logging.getLogger("soundloom")


class Model(LoraMethods, BaseModel[GenerationRequest, PlannedClip, Checkpoint, Engine]):
    """A Stable Audio checkpoint on an engine."""

    components = get_args(Component)

    @property
    def config(self) -> ModelConfig:
        """The generative configuration; raises EngineError for an autoencoder alone, which has none."""
        if not isinstance(self.checkpoint.config, ModelConfig):
            raise EngineError(
                f"{self.name} is an autoencoder alone and cannot generate",
                "it can encode and decode; to generate, load mini",
            )
        return self.checkpoint.config

    # Generate and edit

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    def generate(self, prompt: str, **options: Unpack[GenerateKwargs]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Sequence[str], **options: Unpack[GenerateKwargs]) -> list[Clip]: ...
    def generate(self, prompt: str | Sequence[str], **options: Unpack[GenerateKwargs]) -> Clip | list[Clip]:
        """Generate a clip from a prompt, or a list of clips from a list of prompts.

        With a list, `prompt_b`, `negative_prompt`, `seconds` and `seed` may be lists of the same length; one seed
        counts up from clip to clip, and `mix` applies to all clips that have a second prompt. Raises RequestError,
        OutputError or Canceled.
        """
        return self._generate(prompt, generate_requests(prompt, options), options)

    def vary(
        self,
        clip: ClipOrPath,
        prompt: str | None = None,
        *,
        noise: float = 0.6,
        regions: Sequence[Region] = (),
        **options: Unpack[EditKwargs],
    ) -> Clip:
        """Generate a variation of a clip or a sound file; the higher `noise`, from 0.01 to 1, the less of it remains.

        With `regions`, in seconds, only those are varied. The result has the clip's rate and length, and its channels
        if they are one or two. Without a prompt, an edit uses the one in the clip's record, and the settings (steps,
        sampler, guidance) if this model generated it; an empty prompt leaves the edit to the surrounding audio.
        """
        request = vary_request(clip, prompt, self.name, options, noise=noise, regions=regions)
        return self._edit(request, options)

    def inpaint(
        self, clip: ClipOrPath, regions: Sequence[Region], prompt: str | None = None, **options: Unpack[EditKwargs]
    ) -> Clip:
        """Regenerate regions of a clip or a sound file, all in one pass; every sample outside them is preserved.

        Regions are (start, end) in seconds; `soundloom.bars` converts bars and beats. Each border has a short
        crossfade, inside the region.
        """
        return self._edit(inpaint_request(clip, regions, prompt, self.name, options), options)

    def extend(
        self,
        clip: ClipOrPath,
        seconds: float,
        prompt: str | None = None,
        *,
        before: bool = False,
        **options: Unpack[EditKwargs],
    ) -> Clip:
        """Extend a clip or a sound file by `seconds` at its end, or with `before` at its start.

        Beyond the model's limit it takes several passes, each conditioned on the end of the last.
        """
        return self._edit(extend_request(clip, seconds, prompt, self.name, options, before=before), options)

    def loop(
        self,
        clip: ClipOrPath,
        prompt: str | None = None,
        *,
        bars: float | None = None,
        bpm: float | None = None,
        meter: str = DEFAULT_METER,
        seam: float = 0.5,
        **options: Unpack[EditKwargs],
    ) -> Clip:
        """Make a clip or a sound file repeat without a break: generate `seam` seconds around its end and start again.

        All other samples are preserved. With `bars` at `bpm`, the first bars of the clip become the loop, exact to the
        sample; a tempo alone is stored in the tags of files. To generate a loop from a prompt, use `generate(...,
        loop=True)`.
        """
        rhythm: Rhythm = {"bars": bars, "bpm": bpm, "meter": meter, "seam": seam}
        return self._edit(loop_request(clip, prompt, self.name, options, **rhythm), options)

    def _edit(self, request: GenerationRequest, options: EditKwargs) -> Clip:
        return self.run([request], progress=options.get("progress"), cancel=options.get("cancel"))[0]

    # Plan and execute

    def plan(self, requests: Sequence[GenerationRequest]) -> Plan[PlannedClip]:
        """Plan requests without reading weights; raises RequestError for what the model cannot do."""
        resolved = [
            replace(request, loras=self._adapters.resolve(request.loras, request.compat.loras)) for request in requests
        ]
        return plan(resolved, self.config, default_seconds(self.name))

    def execute(
        self, plan: Plan[PlannedClip], *, progress: ProgressCallback | None = None, cancel: Event | None = None
    ) -> Iterator[tuple[int, Clip]]:
        """Generate the clips of a plan; see `iter`."""
        self._require_known_words(plan)
        for stack in {clip.request.loras for clip in plan.clips}:
            for use in stack.uses if stack else ():
                self._adapters.of(use)  # reads its file before any weights
        return super().execute(plan, progress=progress, cancel=cancel)

    def _executor(self, reporter: ProgressReporter) -> Executor:
        return Executor(self.engine, self.config, self.tokenizer, reporter, self._adapters)

    def _clip(self, planned: PlannedClip, result: ClipAssembler) -> Clip:
        vocabulary, clip = self.caption_vocabulary, result.finish()
        warnings = request_warnings(planned, result.truncated, self.config, self.checkpoint.name, vocabulary)
        return self._recorded(planned, clip, result.findings, [*result.notes, *warnings])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of prompts."""
        files = self.checkpoint.text_encoder
        if files is None:
            self.engine.load("text")  # raises an error that names what is missing
            raise RuntimeError("the text encoder loaded without its files")
        return Tokenizer(files.tokenizer, files.config.pad_token_id, files.config.vocab_size)

    @property
    def caption_vocabulary(self) -> CaptionVocabulary | None:
        """The words that the model knows, if its configuration names them."""
        sound_names = self.config.sound_names
        return CaptionVocabulary(self.tokenizer, sound_names) if sound_names else None

    def _require_known_words(self, plan: Plan[PlannedClip]) -> None:
        """Raise RequestError for a strict request whose prompt names no sound that the model knows."""
        strict = [clip.request for clip in plan.clips if clip.request.strict_words]
        for prompt in dict.fromkeys(text for request in strict for text in request.texts):
            vocabulary = self.caption_vocabulary
            if vocabulary and prompt.strip() and not vocabulary.names_sound(prompt):
                raise RequestError(vocabulary.no_sound_message(self.name), "name one of those")

    # The autoencoder

    def encode(self, clip: ClipOrPath) -> np.ndarray:
        """Return the latents (channels, frames), float32, of a clip or sound file of any rate and channels."""
        clip = as_clip(clip)
        _, note = to_stereo(np.empty((clip.channels, 0)))
        if note:
            log.warning("%s", note)
        audio = clip.stream().stereo().resampled(clip.sample_rate, self.sample_rate)
        require_threads()
        try:
            return encode_stream(self.engine, self.checkpoint.config, audio)
        finally:
            self._free("encoder")

    def decode(self, latents: np.ndarray, samples: int | None = None) -> Clip:
        """Return the audio of latents (channels, frames), trimmed to `samples` if given."""
        require_threads()
        try:
            audio = decode_latents(self.engine, self.checkpoint.config, self._check_latents(latents))[0]
        finally:
            self._free("decoder")
        return Clip(audio[:, :samples], self.sample_rate, self._origin("decode"))

    def decode_stream(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the audio of latents in pieces (2, samples), so that memory does not grow with length."""
        latents = self._check_latents(latents)
        require_threads()
        chunks = decode_chunks(latents.shape[-1], self.checkpoint.config.same, "exact")
        try:
            for piece in chunks.stream(latents, lambda chunk: self.engine.decode(chunk, None)):
                yield piece[0]
        finally:  # also when the caller stops early
            self._free("decoder")

    def _check_latents(self, latents: np.ndarray) -> np.ndarray:
        """Return latents as (1, channels, frames), float32; raises RequestError."""
        latents = np.asarray(latents)
        channels = self.checkpoint.config.same.latent_dim
        if latents.dtype.kind not in "fiu":
            raise RequestError(f"latents must be real numbers, found an array of {latents.dtype}")
        with np.errstate(over="ignore"):  # such numbers become infinite, which is rejected below
            latents = latents.astype(np.float32, copy=False)
        if latents.ndim != 2 or latents.shape[0] != channels or not latents.shape[1]:
            raise RequestError(f"{self.name} decodes latents ({channels}, frames), found shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise RequestError("the latents hold values that are not finite")
        return latents[None]
