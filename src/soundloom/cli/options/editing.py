"""Options of edits: the source, and the regions to regenerate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soundloom.cli.options.flags import Span, ends, flag, span
from soundloom.cli.options.shared import bars_flag, bpm_flag, crossfade_flag, meter_flag, model_flag, prompt_flag
from soundloom.config.stable_audio.request import bars
from soundloom.config.stable_audio.rhythm import DEFAULT_METER, beats_per_bar
from soundloom.errors import RequestError, shown


@dataclass(frozen=True)
class EditOptions:
    """Source."""

    input: str = flag(metavar="IN", help="an audio file; the result has its sample rate, channels, and bit depth")
    positional_prompt: str | None = flag(
        metavar="PROMPT", nargs="?", help="what to generate (default: the prompt in the metadata of IN)"
    )
    prompt: Sequence[str] = prompt_flag(help='same as PROMPT; "" is an empty prompt')
    crossfade: float | None = crossfade_flag()
    model: str | None = model_flag(
        help="a name from `soundloom models`, a folder, or a file (default: the model in the metadata of IN, else mini)"
    )
    trim: tuple[float, float] | None = flag(
        "--trim", type=span, metavar="START,END", help="edit only these seconds of IN, such as 1,4"
    )

    @property
    def text(self) -> str | None:
        """The prompt, or None if none was given."""
        prompts = [text for text in (self.positional_prompt, *self.prompt) if text is not None]
        if len(prompts) > 1:
            raise RequestError("found more than one prompt", "this command takes a single prompt")
        return prompts[0] if prompts else None


@dataclass(frozen=True)
class RegionOptions:
    """Regions."""

    region: Sequence[Span] = flag(
        "--region",
        "--inpaint-range",
        default=(),
        action="append",
        type=span,
        metavar="START,END",
        help="seconds to regenerate, such as 4,7 or 4-7; repeatable",
    )
    inpaint_start: Sequence[float] = flag(
        "--inpaint-start",
        default=(),
        action="append",
        type=float,
        metavar="START",
        help="same as --region START,END; repeatable",
    )
    inpaint_end: Sequence[float] = flag(
        "--inpaint-end", default=(), action="append", type=float, metavar="END", help="goes with --inpaint-start"
    )
    bars: Sequence[str] = bars_flag(
        default=(),
        action="append",
        metavar="FROM-TO",
        help="a region in bars, end excluded: 3-5 is bars 3 and 4; 3.2 is beat 2 of bar 3; repeatable",
    )
    bpm: float | None = bpm_flag(help="tempo in beats per minute, for --bars")
    meter: str = meter_flag(default=DEFAULT_METER, help="time signature, for --bars")

    def regions(self) -> list[Span]:
        """Return all regions, in seconds."""
        if len(self.inpaint_start) != len(self.inpaint_end):
            raise RequestError(
                f"found {len(self.inpaint_start)} --inpaint-start but {len(self.inpaint_end)} --inpaint-end"
            )
        if self.bpm is not None and not self.bars:
            raise RequestError("--bpm requires --bars", "to ask for a tempo, mention it in the prompt")
        pairs = list(zip(self.inpaint_start, self.inpaint_end, strict=True))
        return [*self.region, *pairs, *(self._bars(text) for text in self.bars)]

    def _bars(self, text: str) -> Span:
        places = ends(text)
        if places is None:
            raise RequestError(f"'{shown(text)}' is not a range of bars", "--bars 3-5 is bars 3 and 4")
        if self.bpm is None:
            raise RequestError("--bars requires --bpm", "for example --bpm 120")
        return bars(*places, self.bpm, beats_per_bar(self.meter))
