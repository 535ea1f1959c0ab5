"""Old spellings of flags that a hidden alias cannot express, and flags whose value is several arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from soundloom.cli.options.settings import SEPARATOR, SETTING, TEMPLATE_VALUE

# Spellings of other trainers for `soundloom lora train` and `encode`, beside those that flags hide.
_TRAINERS = (["lora", "train"], ["lora", "encode"])
_DATA = ("--data-dir", "--encoded-dir", "--latents-dir", "--audio-dir")  # name what is an argument here
_VALUES = {"--base-precision": {"bfloat16": "bf16"}}
# Flags that have no effect here: workers, loggers and caches of other programs, and what always happens.
_UNUSED = ("--logger", "--num-workers", "--t5-cache", "--step-offset", "--epoch-offset", "--codec")
_UNUSED_SWITCHES = ("--random-crop", "--use-effective-length", "--no-conditioner-lora")
_SAVING = ("bench", "eval")  # commands whose --json took a file, as --save does now
_LORA, _LORA_FILES = ("--lora", "--lora-ckpt-path"), "--lora-ckpt-path"
TEMPLATE = "--template"
_ADAPTER_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".gguf")


def with_current_spellings(arguments: Sequence[str]) -> list[str]:
    """Replace `--json FILE.json` with `--save FILE.json`, and spellings of other trainers, in arguments."""
    current: list[str] = list(arguments)
    if current[:2] in _TRAINERS:
        return [*current[:2], *_as_here(current[2:])]
    if current[:1] and current[0] in _SAVING:
        for i, argument in enumerate(current):
            if argument.startswith("--json="):
                current[i] = "--save" + argument.removeprefix("--json")
            elif argument == "--json" and current[i + 1 : i + 2] and current[i + 1].endswith(".json"):
                current[i] = "--save"
    return with_joined_adapters(with_joined_templates(current))


def with_joined_templates(arguments: Sequence[str]) -> list[str]:
    """Join a template with the values that follow it, as in `--template music genre=house bpm=124`."""
    joined: list[str] = []
    is_template = False  # whether values may follow
    for argument in arguments:
        if joined and joined[-1] == TEMPLATE and not argument.startswith("-"):
            is_template = True
            joined.append(argument)
        elif is_template and TEMPLATE_VALUE.fullmatch(argument):
            joined[-1] += SEPARATOR + argument
        else:
            is_template = argument.startswith(f"{TEMPLATE}=")
            joined.append(argument)
    return joined


def _as_here(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments of another trainer in the spelling of this one; their flags may have `_` for `-`."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            yield argument
            continue
        flag, equals, value = argument.partition("=")
        name = flag.replace("_", "-")
        if name in _UNUSED_SWITCHES:
            continue
        if name in (*_UNUSED, *_DATA, *_VALUES) and not equals:
            value = next(rest, "")
        if name in _DATA:
            yield value
        elif name in _VALUES:
            yield f"{name}={_VALUES[name].get(value, value)}"
        elif name not in _UNUSED:
            yield f"{name}{equals}{value}"


def with_joined_adapters(arguments: Sequence[str]) -> list[str]:
    """Join adapters with the settings that follow them, as in `--lora FILE strength=0.5 steps=2-8`.

    Further files after `--lora-ckpt-path` become flags of their own.
    """
    joined: list[str] = []
    flag = ""  # of the adapter that the last argument names
    for argument in arguments:
        name, _, value = argument.partition("=")
        if joined and joined[-1] in _LORA and not argument.startswith("-"):
            flag = joined[-1]
            joined.append(argument)
        elif flag and SETTING.fullmatch(argument):
            joined[-1] += SEPARATOR + argument
        elif flag == _LORA_FILES and argument.endswith(_ADAPTER_SUFFIXES):
            joined += [flag, argument]
        else:
            flag = name if name in _LORA and value else ""
            joined.append(argument)
    return joined
