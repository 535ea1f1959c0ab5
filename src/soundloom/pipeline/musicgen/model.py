"""The MusicGen model: text to music, and with the Instruct adapter, edits by instruction.

The networks are mono. The model reads the mean of a source's channels; its result goes to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Unpack, get_args, overload

import numpy as np

from soundloom.audio.checks import check_audio
from soundloom.audio.clip import Clip, ClipOrPath, as_clip
from soundloom.checkpoints.musicgen.open import MusicGenCheckpoint
from soundloom.config.musicgen.model import MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.engines.forks import require_threads
from soundloom.engines.musicgen import MusicComponent, MusicEngine
from soundloom.errors import RequestError
from soundloom.pipeline.model import BaseModel
from soundloom.pipeline.musicgen.executor import MusicExecutor, mono_at_rate
from soundloom.pipeline.musicgen.plan import PlannedMusic, plan
from soundloom.pipeline.musicgen.requests import MusicEditKwargs, MusicKwargs, edit_requests, music_requests
from soundloom.pipeline.plan import Plan
from soundloom.pipeline.progress import ProgressReporter
from soundloom.text.t5_tokens import T5Tokenizer


class MusicModel(BaseModel[MusicRequest, PlannedMusic, MusicGenCheckpoint, MusicEngine]):
    """A MusicGen checkpoint on an engine; see `soundloom.load`."""

    components = get_args(MusicComponent)

    @property
    def config(self) -> MusicGenConfig:
        """The model's configuration."""
        return self.checkpoint.config

    @cached_property
    def tokenizer(self) -> T5Tokenizer:
        """The tokenizer of prompts and instructions."""
        return T5Tokenizer(self.checkpoint.tokenizer, self.config.t5)

    @overload
    # A str is also a sequence of them; the first signature wins for it.
    def generate(self, prompt: str, **options: Unpack[MusicKwargs]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Sequence[str], **options: Unpack[MusicKwargs]) -> list[Clip]: ...
    def generate(self, prompt: str | Sequence[str], **options: Unpack[MusicKwargs]) -> Clip | list[Clip]:
        """Generate music from a prompt, or a list of clips from a list of prompts.

        With a list, `seconds` and `seed` may be lists of the same length; one seed counts up from clip to clip.
        Raises RequestError, OutputError or Canceled.
        """
        return self._generate(prompt, music_requests(prompt, options), options)

    @overload
    def edit(self, clip: ClipOrPath, instruction: str, **options: Unpack[MusicEditKwargs]) -> Clip: ...  # type: ignore[overload-overlap]
    @overload
    def edit(self, clip: ClipOrPath, instruction: Sequence[str], **options: Unpack[MusicEditKwargs]) -> list[Clip]: ...
    def edit(
        self, clip: ClipOrPath, instruction: str | Sequence[str], **options: Unpack[MusicEditKwargs]
    ) -> Clip | list[Clip]:
        """Edit a clip or sound file by an instruction such as "Only drums", or once by each of several.

        The result has the clip's rate, length and channels, which all hold the same audio. Raises RequestError,
        OutputError or Canceled.
        """
        return self._generate(instruction, edit_requests(clip, instruction, options), options)

    def plan(self, requests: Sequence[MusicRequest]) -> Plan[PlannedMusic]:
        """Plan requests without reading weights; raises RequestError for what the model cannot do."""
        return plan(requests, self.config)

    def _executor(self, reporter: ProgressReporter) -> MusicExecutor:
        return MusicExecutor(self.engine, self.config, self.tokenizer, reporter)

    def _clip(self, planned: PlannedMusic, result: np.ndarray) -> Clip:
        findings = check_audio(result, planned.rate, planned.origin(self.engine.precision))
        source = planned.request.source
        clip = Clip(result, planned.rate, source_format=source.source_format if source else None)
        return self._recorded(planned, clip, findings, planned.notes)

    def encode(self, clip: ClipOrPath) -> np.ndarray:
        """Return the tokens (codebooks, frames) of a clip or sound file of any rate and number of channels."""
        clip = as_clip(clip)
        if not clip.samples:
            raise RequestError("the clip to encode has no samples")
        require_threads()
        try:
            return self.engine.encode(mono_at_rate(clip, self.sample_rate)[None])[0]
        finally:
            self._free("codec")

    def decode(self, codes: np.ndarray) -> Clip:
        """Return the audio of tokens (codebooks, frames)."""
        codes = np.asarray(codes)
        codebooks, entries = self.config.encodec.num_quantizers, self.config.encodec.codebook_size
        is_integer = np.issubdtype(codes.dtype, np.integer)
        if codes.ndim != 2 or codes.shape[0] != codebooks or not codes.size or not is_integer:
            raise RequestError(f"{self.name} decodes integers ({codebooks}, frames), found shape {codes.shape}")
        if codes.min() < 0 or codes.max() >= entries:
            raise RequestError(
                f"tokens must be between 0 and {entries - 1}, found values from {codes.min()} to {codes.max()}"
            )
        require_threads()
        try:
            audio = self.engine.decode(codes[None].astype(np.int64))[0]
        finally:
            self._free("codec")
        return Clip(audio, self.sample_rate, self._origin("decode"))
