"""Options that write prompts: templates and random prompts. What they write is shown before it is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from soundloom.cli.options.flags import flag, switch
from soundloom.cli.options.requests import RANDOM_SEED, require_count
from soundloom.cli.options.sampling import SeedOptions
from soundloom.cli.options.settings import TEMPLATE_VALUE
from soundloom.config.prompt_templates import MINI, TEMPLATES, parse_template, prompt_template
from soundloom.config.random_prompts import random_prompt
from soundloom.config.stable_audio.request import GenerationRequest
from soundloom.errors import RequestError, shown
from soundloom.pipeline.requests import spread_seed

MAX_SHOWN = 20
SeedOptionsT = TypeVar("SeedOptionsT", bound=SeedOptions)


@dataclass(frozen=True)
class WrittenPromptOptions:
    """Prompts."""

    template: str | None = flag(
        "--template",
        metavar="NAME",
        help=f"write the prompt as a caption of the training data: {', '.join(TEMPLATES)}; followed by values such as "
        'genre=house bpm=124 key="A minor". Prompts are added as descriptions, and the result is shown',
    )
    surprise: bool = switch("--surprise", help="a random prompt that fits the model, by the seed; it is shown")

    @property
    def writes_prompts(self) -> bool:
        """Whether there is a prompt even if none was given."""
        return self.template is not None or self.surprise

    def require_no_settings(self, prompts: Sequence[str]) -> None:
        """Raise RequestError if a prompt looks like a value of the template."""
        lost = next((text for text in prompts if TEMPLATE_VALUE.fullmatch(text)), None)
        if self.template is not None and lost is not None:
            raise RequestError(
                f"'{shown(lost)}' is not part of the template", "write its values directly after --template NAME"
            )
        if self.surprise and (prompts or self.template is not None):
            raise RequestError(
                "--surprise chooses the prompt, but there is one already", "leave out --surprise, or the prompt"
            )

    def templated(self, model: str, prompts: Sequence[str], *, is_mini: bool) -> list[str]:
        """Return the prompts in the form of the template, or as they are without one."""
        if self.template is None:
            return list(prompts)
        name, values = parse_template(self.template)
        written = [prompt_template(name, text, model=MINI if is_mini else model, **values) for text in prompts or [""]]
        show_prompts(written)
        return written


def with_surprises(options: SeedOptionsT, model: str, sounds: Sequence[str]) -> tuple[SeedOptionsT, list[str]]:
    """Return the options with a seed for each clip, and a random prompt for each seed."""
    require_count(options, max(1, len(options.seed)))
    given = [None if seed == RANDOM_SEED else seed for seed in options.seed] or [None]
    for seed in given:
        GenerationRequest(seed=seed)  # raises RequestError for seeds out of range
    seeds = [int(seed or 0) for first in given for seed in spread_seed(first, options.count)]
    prompts = [random_prompt(model, seed, sounds=sounds) for seed in seeds]
    show_prompts(prompts)
    return replace(options, seed=seeds, count=1), prompts


def show_prompts(prompts: Sequence[str]) -> None:
    """Print prompts to stderr, also with --quiet: nobody should wonder what was generated."""
    from soundloom.cli.terminal.streams import one_message

    lines = [f"prompt: {one_message(text)}\n" for text in prompts[:MAX_SHOWN]]
    if len(prompts) > MAX_SHOWN:
        lines.append(f"and {len(prompts) - MAX_SHOWN} more prompts, each in the metadata of its file\n")
    sys.stderr.write("".join(lines))
    sys.stderr.flush()
