"""Options of LoRA adapters for commands that generate or edit audio."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from soundloom.cli.options.adapters import split_strength
from soundloom.cli.options.flags import flag
from soundloom.cli.options.model import ServerOptions
from soundloom.cli.options.settings import ALIASES, SEPARATOR
from soundloom.cli.options.shared import combine_flag, lora_flag, strength_flag
from soundloom.config.stable_audio.adapters import AdapterStack, AdapterUse, mix
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.config.stable_audio.request import MAX_STEPS, GenerationRequest
from soundloom.errors import RequestError, shown
from soundloom.lora.files.find import find_adapter, index_adapter, locate_adapter
from soundloom.lora.files.read import read_adapter
from soundloom.lora.guardrails import require_known_fit
from soundloom.lora.stack import require_layers

log = logging.getLogger(__name__)

_SPAN = re.compile(r"(?P<first>[^-]*?)(?P<dash>-?)(?P<last>[^-]*)")


@dataclass(frozen=True)
class LoraOptions:
    """LoRA adapters."""

    loras: Sequence[str] = lora_flag(
        default=(),
        hidden=("--lora-ckpt-path",),
        help="apply an adapter: a file, a name in the folder of adapters, or a Hub repository; repeatable. Settings "
        "may follow: steps=2-8, sigma=0.2..0.9, mode=full, only=ff, off=cross_attn, layers=ff:0.5, curve=0:0,1:1",
    )
    lora_strength: Sequence[float] = strength_flag(
        default=(),
        action="append",
        type=float,
        help="strength of the adapters without one: for all, or once per adapter",
    )
    lora_combine: Literal["chain", "sum"] | None = combine_flag(
        help="apply adapters one after the other, or add up their changes (default: chain)"
    )
    lora_seconds: Literal["first", "all", "none"] | None = flag(
        "--lora-seconds",
        choices=("first", "all", "none"),
        help="which adapters may change how the duration is embedded (default: first)",
    )
    lora_mix: float | None = flag(
        "--lora-mix", type=float, metavar="X", help="blend two adapters: 0 is the first alone, 1 the second"
    )
    lora_dir: str | None = flag(
        "--lora-dir",
        hidden=("--adapters-dir",),
        metavar="FOLDER",
        help="folder of adapters that --lora names (default: SOUNDLOOM_LORAS or the data folder)",
    )

    def stack(
        self, recorded: AdapterStack | None, steps: int, model: str, *, partial: bool = False, is_local: bool = True
    ) -> AdapterStack | None:
        """Return the adapters of a request of so many steps; without --lora, those of its record.

        Adapters of --lora must fit the model, or with `partial` some of its layers. Unless `is_local`, they are those
        of a server, which finds them by their names. Raises RequestError, ModelNotFoundError or CheckpointError.
        """
        if not self.loras:
            self._require_no_settings(recorded)
            if recorded is None:
                return None
            uses = self._with_strengths([(use, False) for use in recorded.uses])
            for use in uses if is_local else ():
                index_adapter(read_adapter(locate_adapter(use.name, use.sha256, self.lora_dir)))
            return self._together(replace(recorded, uses=uses))
        uses = self._with_strengths([parse_use(text, steps, self.lora_dir) for text in self.loras])
        if not is_local:
            return self._together(AdapterStack(uses))
        return self._together(AdapterStack(tuple(self._identified(use, model, partial) for use in uses)))

    def _together(self, stack: AdapterStack) -> AdapterStack:
        if self.lora_mix is not None:
            stack = self._mixed(stack)
        combine, seconds = self.lora_combine or stack.combine, self.lora_seconds or stack.seconds
        return replace(stack, combine=combine, seconds=seconds)

    def _mixed(self, stack: AdapterStack) -> AdapterStack:
        if len(stack.uses) != 2:
            raise RequestError(f"--lora-mix blends two adapters, found {len(stack.uses)}", "name two with --lora")
        assert self.lora_mix is not None
        first, second = stack.uses
        blend = mix(first.name, second.name, self.lora_mix)
        uses = [
            replace(use, strength=part.strength * use.strength, mode=part.mode)
            for use, part in zip((first, second), blend.uses, strict=True)
        ]
        return replace(blend, uses=tuple(uses))

    def _with_strengths(self, uses: Sequence[tuple[AdapterUse, bool]]) -> tuple[AdapterUse, ...]:
        """Apply --lora-strength to uses; the second of each pair says that its own strength was given."""
        given = self.lora_strength
        if not given:
            return tuple(use for use, _ in uses)
        if len(given) not in (1, len(uses)):
            raise RequestError(
                f"--lora-strength has {len(given)} values for {len(uses)} adapters", "pass one, or one per adapter"
            )
        strengths = list(given) * len(uses) if len(given) == 1 else given
        return tuple(
            use if has_strength and len(given) == 1 else replace(use, strength=strength)
            for (use, has_strength), strength in zip(uses, strengths, strict=True)
        )

    def _identified(self, use: AdapterUse, model: str, partial: bool) -> AdapterUse:
        adapter = read_adapter(find_adapter(use.name, self.lora_dir))
        require_known_fit(adapter, model, partial=partial)
        index_adapter(adapter)
        require_layers(use, adapter)
        return replace(use, name=adapter.name, sha256=adapter.sha256)

    def _require_no_settings(self, recorded: AdapterStack | None) -> None:
        given = {"--lora-mix": self.lora_mix, "--lora-strength": self.lora_strength or None}
        found = [name for name, value in given.items() if value is not None]
        if found and recorded is None:
            raise RequestError(f"{' and '.join(found)} needs an adapter", "name one with --lora")


def with_adapters(
    request: GenerationRequest, options: LoraOptions, config: ModelConfig, model: str
) -> GenerationRequest:
    """Return a request with the adapters that the flags name; `config` and `model` are the model's."""
    steps = request.steps or config.sampling_defaults.steps
    is_local = not isinstance(options, ServerOptions) or options.server is None
    stack = options.stack(request.loras, steps, model, is_local=is_local)
    return replace(request, loras=None if stack is None else stack.resolved(request.compat.loras))


def parse_use(text: str, steps: int, folder: str | None = None) -> tuple[AdapterUse, bool]:
    """Parse an adapter and its settings, separated by `SEPARATOR`; return whether a strength was among them.

    Shares of the steps become numbers of a run of `steps`. `folder` is that of named adapters. Raises RequestError.
    """
    source, *settings = text.split(SEPARATOR)
    name, strength = split_strength(source, folder)
    given: dict[str, Any] = {} if name == source else {"strength": strength}
    for setting in settings:
        key, _, value = setting.partition("=")
        key = ALIASES.get(key, key)
        if key not in _PARSERS:
            close = difflib.get_close_matches(key, _PARSERS, 1)
            guess = f"did you mean {close[0]}? " if close else ""
            raise RequestError(f"adapters have no setting {shown(key)!r}", f"{guess}settings: {', '.join(_PARSERS)}")
        try:
            given[key] = _PARSERS[key](value, steps)
        except ValueError:
            raise RequestError(f"{shown(setting)} cannot be understood", f"for example {_EXAMPLES[key]}") from None
    return AdapterUse(name, **given), "strength" in given


def _number(value: str, steps: int) -> float:
    return float(value)


def _text(value: str, steps: int) -> str:
    return value


def _patterns(value: str, steps: int) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _steps(value: str, steps: int) -> tuple[int, int]:
    """Parse `2-8`, `2-`, `-4`, `3` or `25%-100%`."""
    match = _SPAN.fullmatch(value)
    if match is None or not value.strip("-"):
        raise ValueError
    first = _step(match["first"], steps) if match["first"] else 1
    if not match["dash"]:
        first = _step(match["last"], steps)
        return first, first
    return first, _step(match["last"], steps) if match["last"] else max(steps, first)


def _step(text: str, steps: int) -> int:
    """Return the step of a number, or of a share of the steps: 0% is the first one and 100% the last."""
    if not text.endswith("%"):
        return int(text)
    share = float(text.removesuffix("%"))
    if not 0 <= share <= 100:
        raise ValueError
    return min(int(share / 100 * steps) + 1, steps, MAX_STEPS)


def _sigma(value: str, steps: int) -> tuple[float, float]:
    """Parse `0.2..0.9`, `0.2,0.9`, `..0.9` or `0.2..`."""
    low, found, high = value.partition(".." if ".." in value else ",")
    if not found:
        raise ValueError
    return float(low) if low else 0.0, float(high) if high else 1.0


def _pairs(value: str, steps: int) -> list[tuple[str, float]]:
    pairs = [part.rpartition(":") for part in _patterns(value, steps)]
    if not all(found for _, found, _ in pairs):
        raise ValueError
    return [(name, float(number)) for name, _, number in pairs]


def _curve(value: str, steps: int) -> list[tuple[float, float]]:
    return [(float(sigma), strength) for sigma, strength in _pairs(value, steps)]


_PARSERS: dict[str, Callable[[str, int], Any]] = {
    "strength": _number,
    "mode": _text,
    "sigma": _sigma,
    "steps": _steps,
    "only": _patterns,
    "off": _patterns,
    "layers": lambda value, steps: dict(_pairs(value, steps)),
    "curve": _curve,
}
_EXAMPLES = {
    "strength": "strength=0.8",
    "mode": "mode=fade",
    "sigma": "sigma=0.2..0.9",
    "steps": "steps=2-8, steps=2-, steps=-4, or steps=25%-100%",
    "only": "only=ff,self_attn",
    "off": "off=cross_attn",
    "layers": "layers=ff:0.5,self_attn:1",
    "curve": "curve=0:0,1:1",
}
