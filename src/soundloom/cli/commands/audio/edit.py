"""`soundloom edit`: edit music by instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from soundloom.cli.music import edit_music
from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.generation import MusicOptions
from soundloom.cli.options.prompts import quoted
from soundloom.cli.options.shared import model_flag, prompt_flag, window_flag
from soundloom.errors import RequestError

DEFAULT_MODEL = "instruct-musicgen"


@dataclass(frozen=True)
class Options(MusicOptions):
    """Edit music by instruction, such as "Only drums", "Remove the piano", or "Add guitar".

    soundloom edit a.wav b.wav "No bass" -o edited/

    The result has the length, sample rate, and number of channels of its source. The model is mono: it edits the mean
    of the channels, and the channels of the result are equal. It was trained on drums, bass, piano, and guitar only.
    """

    input: str = flag(metavar="IN", help="an audio file; more may follow")
    more: Sequence[str] = flag(
        default=(), nargs="*", metavar="INSTRUCTION", help="what to change, one clip per instruction"
    )
    model: str | None = model_flag(help=f"a MusicGen editor (default: {DEFAULT_MODEL})")
    prompt: Sequence[str] = prompt_flag(help="same as INSTRUCTION; repeatable")
    window: float | None = window_flag(help="seconds per pass, up to 10 (default: 5, as trained)")
    raw: bool = switch("--raw", help="pass the instruction to the model unchanged")
    residual: bool = switch(
        "--residual", help="also write what was removed, the source minus the result, to NAME-residual"
    )


def run(options: Options) -> None:
    others = list(takewhile(_is_file, options.more))
    instructions = [*options.more[len(others) :], *options.prompt]
    if not instructions:
        raise RequestError("no instruction was given", f'soundloom edit {quoted(options.input)} "Only drums"')
    if options.residual and options.snap_tempo is not None:
        raise RequestError("--snap-tempo would move the result against its source", "leave out one of the two flags")
    options = replace(options, model=options.model or DEFAULT_MODEL)
    files = map(Path, (options.input, *others))
    edit_music(options, files, instructions, options.residual, window=options.window, raw=options.raw)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:
        return False  # such as an instruction longer than any file name
