"""Turn MusicGen requests into plans: defaults, instructions, windows and batches. No weights."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from soundloom.audio.checks import Origin
from soundloom.audio.clip import Clip
from soundloom.audio.resample import resampled_length
from soundloom.config.musicgen.model import InstructConfig, MusicGenConfig
from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.musicgen.sampling import Sampling
from soundloom.diffusion.noise import random_seed
from soundloom.errors import RequestError, shown
from soundloom.pipeline.musicgen.windows import AudioWindow, plan_windows
from soundloom.pipeline.plan import Plan, group_alike
from soundloom.text.instructions import Instruction, normalize_instruction

DEFAULT_SECONDS = 10.0
EDIT_OVERLAP, GENERATE_OVERLAP = 0.2, 0.4  # of a window that the next one repeats; the latter is the published one


@dataclass(frozen=True)
class PlannedMusic:
    """A request with every default resolved.

    `text` conditions the model; `rate` and `channels` are those of the result, `samples` its length at the model's
    rate.
    """

    request: MusicRequest
    text: str
    seed: int
    sampling: Sampling
    windows: tuple[AudioWindow, ...]
    samples: int
    rate: int
    channels: int
    notes: tuple[str, ...] = ()

    @property
    def is_edit(self) -> bool:
        return self.request.source is not None

    @property
    def seconds(self) -> float:
        """The length of the result."""
        source = self.request.source
        return self.samples / self.rate if source is None else source.seconds

    @property
    def mode(self) -> str:
        return "edit" if self.is_edit else "generate"

    @property
    def batch_key(self) -> Hashable:
        """What clips that run together have in common; edits share their source, so that memory holds one at a time."""
        return self.windows, self.sampling, self.request.guidance, self.request.source

    def origin(self, precision: str) -> Origin:
        """Return what the checks of the result need to know.

        An edit may rightly be silent: of silence, or when its only instrument is removed.
        """
        is_guided = self.request.guidance != 1
        return Origin(self.request.text, self.is_edit, False, self.is_edit, is_guided, precision)

    def record(self) -> dict[str, Any]:
        """Return the seed, the text and the request with defaults resolved, as plain data."""
        seconds = None if self.is_edit else self.seconds
        request = self.request.to_record(seconds=seconds, seed=self.seed, top_k=self.sampling.top_k)
        return {"seed": self.seed, "understood": self.text, "request": request}


def plan(requests: Sequence[MusicRequest], config: MusicGenConfig) -> Plan[PlannedMusic]:
    """Plan a clip for each request; raises RequestError for what the model cannot do."""
    clips = [plan_clip(request, config) for request in requests]
    understood = {
        clip.text: clip.request.prompt
        for clip in clips
        if clip.is_edit and not clip.request.raw and clip.text != clip.request.prompt
    }
    notices = tuple(f"'{shown(prompt)}' is understood as '{shown(text)}'" for text, prompt in understood.items())
    return Plan(clips, group_alike(clip.batch_key for clip in clips), notices)


def plan_clip(request: MusicRequest, config: MusicGenConfig) -> PlannedMusic:
    """Resolve the defaults of a request; raises RequestError for what the model cannot do."""
    seed = random_seed() if request.seed is None else request.seed
    sampling = request.sampling(config.default_top_k)
    if request.source is not None:
        if config.instruct is None:
            raise RequestError("this model has no adapter and cannot edit", "use instruct-musicgen")
        return _plan_edit(request, request.source, config, config.instruct, seed, sampling)
    if config.instruct is not None:
        raise RequestError(
            "this model edits audio, and there is none to edit",
            "edit a file with `soundloom edit IN`, or use a musicgen model",
        )
    samples = round((request.seconds or DEFAULT_SECONDS) * config.sample_rate)
    frames, longest = config.encodec.frames(samples), round(config.max_seconds * config.frame_rate)
    if not frames:
        raise RequestError(f"{request.seconds:g} s are less than one sample at {config.sample_rate} Hz")
    windows = tuple(plan_windows(frames, longest, longest, GENERATE_OVERLAP))
    rate, channels = config.sample_rate, config.lm.audio_channels
    return PlannedMusic(request, request.text, seed, sampling, windows, samples, rate, channels)


def _plan_edit(
    request: MusicRequest,
    source: Clip,
    config: MusicGenConfig,
    instruct: InstructConfig,
    seed: int,
    sampling: Sampling,
) -> PlannedMusic:
    if request.seconds is not None:
        raise RequestError("an edit is as long as its source", "leave seconds out")
    known = instruct.instruments
    instruction = Instruction(request.text, True) if request.raw else normalize_instruction(request.text, known)
    window = request.window or instruct.window
    size, longest = round(window * config.frame_rate), instruct.max_frames
    samples = resampled_length(source.samples, source.sample_rate, config.sample_rate)
    windows = tuple(plan_windows(config.encodec.frames(samples), size, longest, EDIT_OVERLAP))
    notes = []
    if not instruction.seen_in_training:
        names = ", ".join(known)
        notes.append(
            f"the model was not trained on '{shown(instruction.text)}', but to add, remove and extract one of {names}"
        )
    if window > instruct.window:
        notes.append(f"the model was trained on {instruct.window:g} s; windows of {window:g} s are beyond that")
    rate, channels = source.sample_rate, source.channels
    return PlannedMusic(request, instruction.text, seed, sampling, windows, samples, rate, channels, tuple(notes))
