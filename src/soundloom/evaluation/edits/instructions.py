"""Edit sounds by instruction with every precision of a model, from equal clips, seeds and sampling noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundloom.autoregressive import delay
from soundloom.config.musicgen.request import MusicRequest
from soundloom.errors import RequestError
from soundloom.evaluation.edits.sources import Source
from soundloom.pipeline.musicgen.executor import MusicExecutor
from soundloom.pipeline.musicgen.model import MusicModel
from soundloom.pipeline.progress import ProgressReporter
from soundloom.text.instructions import normalize_instruction

# Those of the published table of FP16, INT8 and INT4.
INSTRUCTIONS = ("Only drums", "Only piano", "Remove drums", "Only bass")
POSITIONS = (1, 10, 25, 50)  # after which logits are compared
_FORM = re.compile(r"Music piece\. Instruct: (Add|No|Only) (.+)\.")

Log = Callable[[int, int], None]
Tokens = tuple[NDArray[np.integer], ...]  # (q, t) of each window
Logits = dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class InstructionEdit:
    """One edit of a source by an instruction."""

    number: int  # of the source
    source: Source
    instruction: str
    seed: int

    @property
    def id(self) -> str:
        return f"{self.source.id} '{self.instruction}'"

    def request(self, window: float | None) -> MusicRequest:
        return MusicRequest(self.instruction, source=self.source.clip, seed=self.seed, window=window)


@dataclass(frozen=True)
class InstructionResult:
    """The audio of an edit, at the rate and length of its source, and its tokens."""

    audio: NDArray[np.float32]
    tokens: Tokens


@dataclass(frozen=True)
class Captions:
    """What is heard before an edit, and what must be heard after it: for removals, what remains.

    The result may be silent where nothing remains, or where the instrument to extract is not in the source.
    """

    source: str
    target: str
    may_be_silent: bool = False


def plan_instructions(
    sources: Sequence[Source], instructions: Sequence[str], seeds: Sequence[int]
) -> list[InstructionEdit]:
    """Return an edit for each source, instruction and seed."""
    return [
        InstructionEdit(number, source, instruction, seed)
        for (number, source), instruction, seed in product(enumerate(sources), instructions, seeds)
    ]


def parse_instruction(instruction: str, instruments: Collection[str]) -> tuple[str, str] | None:
    """Return the verb (Add, No or Only) and the instrument of an instruction; None if it has another form."""
    match = _FORM.fullmatch(normalize_instruction(instruction, instruments).text)
    return (match[1], match[2].lower()) if match else None


def captions(instruction: str, source: Source, instruments: Collection[str]) -> Captions:
    """Return the captions before and after an edit, from the instruments that the source's caption names.

    If it names none, all of the model's instruments count as present.
    """
    known = [name.lower() for name in instruments]
    words = set(re.findall(r"\w+", source.caption.lower()))
    present = [name for name in known if {name, f"{name}s", name.removesuffix("s")} & words] or known
    before = _caption(present)
    parsed = parse_instruction(instruction, instruments)
    if parsed is None:
        return Captions(before, instruction)
    verb, instrument = parsed
    others = [name for name in present if name != instrument]
    after = {"Only": [instrument], "No": others, "Add": [*others, instrument]}[verb]
    return Captions(before, _caption(after), not after or (verb == "Only" and instrument not in present))


def _caption(instruments: Sequence[str]) -> str:
    if not instruments:
        return "silence"
    *most, last = instruments
    return f"music with {', '.join(most)} and {last}" if most else f"music with {last}"


def true_edit(instruction: str, source: Source, instruments: Collection[str]) -> NDArray[np.float32] | None:
    """Return what a removal or extraction must sound like (c, n), if the stems of the source are known."""
    parsed = parse_instruction(instruction, instruments)
    stems = {name.lower(): stem for name, stem in source.stems.items()}
    if parsed is None or parsed[0] == "Add" or parsed[1] not in stems:
        return None
    stem = stems[parsed[1]]
    return stem if parsed[0] == "Only" else source.audio - stem


class TokenRecorder(MusicExecutor):
    """Edits clips, and keeps their tokens."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tokens: list[Tokens] = []  # of the clips of the last group

    def _decode(self, clips: Sequence[Any], tokens: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.tokens = [tuple(window[row] for window in tokens) for row in range(len(clips))]
        return super()._decode(clips, tokens)


def run_instructions(
    model: MusicModel,
    edits: Sequence[InstructionEdit],
    window: float | None = None,
    log: Log = lambda done, total: None,
) -> list[InstructionResult]:
    """Make all edits with a model."""
    plan = model.plan([edit.request(window) for edit in edits])
    recorder = _recorder(model, len(edits))
    results: dict[int, InstructionResult] = {}
    for group in plan.groups:
        audio = recorder.execute([plan.clips[index] for index in group], True)
        for index, sound, tokens in zip(group, audio, recorder.tokens, strict=True):
            results[index] = InstructionResult(sound, tokens)
        log(len(results), len(edits))
    return [results[index] for index in range(len(edits))]


def _recorder(model: MusicModel, clips: int) -> TokenRecorder:
    recorder = TokenRecorder(model.engine, model.config, model.tokenizer, ProgressReporter(model.engine, clips=clips))
    recorder.keep_loaded = True
    return recorder


def forced_logits(model: MusicModel, edit: InstructionEdit, tokens: Tokens, window: float | None = None) -> Logits:
    """Return the logits (2, q, v), with the instruction and without, after given tokens of the first window.

    All precisions read the same tokens, so that their logits can be compared one by one.
    """
    planned = model.plan([edit.request(window)]).clips[0]
    recorder, lm = _recorder(model, 1), model.config.lm
    read = model.tokenizer([planned.text])
    text = model.engine.encode_text(read.ids, read.mask)
    source = recorder._encode(planned)[0]
    sequence = delay.build(tokens[0][None], lm.delays, lm.special_token)
    found = {}
    for position in POSITIONS:
        if position <= sequence.shape[-1]:
            decoder = model.engine.decoder(text, position, True, source)
            cond, uncond = decoder(sequence[..., :position])
            assert uncond is not None
            found[position] = np.stack([cond[0], uncond[0]]).astype(np.float32)
    return found


def require_editor(model: MusicModel) -> tuple[str, ...]:
    """Return the instruments of an editor. Raises RequestError for a model without the adapter."""
    if model.config.instruct is None:
        raise RequestError(f"{model.name} has no adapter, so it cannot edit", "use instruct-musicgen")
    return model.config.instruct.instruments
