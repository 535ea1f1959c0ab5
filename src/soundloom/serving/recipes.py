"""How a take can be made again elsewhere: as a command line, as Python, and as the body of a job."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soundloom.config.stable_audio.model import ModelConfig
from soundloom.errors import RequestError
from soundloom.serving.jobs.resolve import KnownModel
from soundloom.serving.storage.rows import Take

KINDS = ("generate", "vary", "inpaint", "extend", "loop", "edit")
# Flags that take the value of a field as it is.
_FLAGS = {
    **{name: f"--{name.replace('_', '-')}" for name in ("seconds", "bars", "bpm", "meter", "seam", "steps", "sampler")},
    **{name: f"--{name.replace('_', '-')}" for name in ("noise", "crossfade", "duration_padding", "negative_prompt")},
    **{name: f"--{name.replace('_', '-')}" for name in ("prompt_b", "temperature", "top_k", "top_p", "window", "seed")},
}
_GUIDANCE_FLAGS = {
    "scale": "--cfg",
    "apg": "--apg",
    "rescale": "--cfg-rescale",
    "norm_threshold": "--cfg-norm-threshold",
}
_PYTHON_OPTIONS = {"prompt", "regions", "noise", "loras"} | _FLAGS.keys() - {"meter"} | {"loop", "meter", "mix", "raw"}


@dataclass(frozen=True)
class Recipe:
    """A take as a command line, as a Python program, and as the body of `POST /v1/jobs`."""

    command: str
    python: str
    job: dict[str, Any]


@dataclass(frozen=True)
class _Facts:
    kind: str
    model: str
    request: dict[str, Any]  # without defaults
    loras: list[dict[str, Any]]
    source: str  # its path, or ""
    source_seconds: float
    out: str
    precision: str
    subtype: str
    take: str  # its path


def recipe(
    take: Take, model: KnownModel, path: str, source: str, source_seconds: float, *, precision: str, name: str
) -> Recipe:
    """Return how a take can be made again; `path` and `source` are files of the take and of what it was made from.

    `name` is that of the new file, without suffix. Raises RequestError for a take that no model made.
    """
    record, kind = take.record, str(take.record.get("mode", ""))
    if kind not in KINDS or not isinstance(record.get("request"), Mapping):
        raise RequestError("this take was not made by a model, so it cannot be made again")
    request = _without_defaults(dict(record["request"]), model, kind)
    loras = [dict(use) for use in (request.pop("loras", None) or {}).get("uses", ())]
    out = f"{name}.wav"
    subtype = {"FLOAT": "float", "PCM_24": "24", "PCM_16": "16"}.get(take.artifact.subtype, "")
    facts = _Facts(kind, model.name, request, loras, source, source_seconds, out, precision, subtype, path)
    job: dict[str, Any] = {"kind": kind, "model": model.name, "request": request}
    if kind != "generate":
        job["source"] = take.parent
    if loras:
        job["loras"] = loras
    return Recipe(_command(facts), _python(facts), job)


def _without_defaults(request: dict[str, Any], model: KnownModel, kind: str) -> dict[str, Any]:
    """Return what makes a request another one than the default."""
    if isinstance(model.config, ModelConfig):
        defaults, shift = model.config.sampling_defaults, model.config.model.diffusion.sampling_shift
        usual = {"steps": defaults.steps, "sampler": defaults.sampler, "shift": vars(shift)}
        request = {key: value for key, value in request.items() if usual.get(key) != value}
        if shift_type := request.get("shift"):
            given = {key: value for key, value in shift_type.items() if vars(shift).get(key) != value}
            request = request if given else {key: value for key, value in request.items() if key != "shift"}
        scale = {"scale": 1.0, **request.get("guidance", {})}
        if "guidance" in request and scale == {"scale": defaults.guidance}:
            del request["guidance"]
    else:
        usual = {"temperature": 1.0, "top_k": model.config.default_top_k, "top_p": 0.0, "guidance": 3.0, "raw": False}
        request = {key: value for key, value in request.items() if usual.get(key) != value}
    if request.get("bars") is not None or kind in ("vary", "inpaint", "loop"):
        request.pop("seconds", None)
    return request


# Command line


def _command(facts: _Facts) -> str:
    rest = dict(facts.request)
    words = ["soundloom", facts.kind, *([facts.source] if facts.source else [])]
    words += _prompt_words(rest.pop("prompt", ""), facts.kind)
    words += ["--model", facts.model]
    for start, end in rest.pop("regions", ()):
        words += ["--region", f"{start!r},{end!r}"]
    if facts.kind == "extend" and not _take_length(rest, facts, words):
        return _like(facts)
    if facts.kind == "generate" and rest.pop("loop", False):
        words.append("--loop")
    rest.pop("loop", None)
    words += _guidance_words(rest)
    for name in [name for name in rest if name in _FLAGS]:
        words += [_FLAGS[name], _number(rest.pop(name))]
    if isinstance(mix := rest.get("mix"), int | float):
        words += ["--mix", _number(mix)]
        del rest["mix"]
    if rest.pop("raw", False):
        words.append("--raw")
    if rest:
        return _like(facts)
    for use in facts.loras:
        words += _lora_words(use)
    return _line([*words, *_ending(facts)])


def _prompt_words(prompt: str, kind: str) -> list[str]:
    if kind == "generate" and prompt.startswith("@"):
        prompt = f"@{prompt}"
    return [f"--prompt={prompt}"] if prompt.startswith("-") or not prompt else [prompt]


def _take_length(rest: dict[str, Any], facts: _Facts, words: list[str]) -> bool:
    """Add the length of an extension to one side; return False for one to both."""
    before = float(rest.pop("offset", 0) or 0)
    after = float(rest.pop("seconds", None) or 0) - facts.source_seconds - before
    if before > 0 and after > 1e-6:
        return False
    words += ["--seconds", repr(before if before > 0 else round(after, 9))]
    if before > 0:
        words.append("--before")
    return True


def _guidance_words(rest: dict[str, Any]) -> list[str]:
    given = rest.pop("guidance", None)
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return ["--cfg", _number(given)]
    found = ["--cfg", _number(given.get("scale", 1.0))]
    for name, flag in _GUIDANCE_FLAGS.items():
        if name in given and name != "scale":
            found += [flag, _number(given[name])]
    if "interval" in given:
        found += ["--cfg-interval", ",".join(map(_number, given["interval"]))]
    return found


def _lora_words(use: Mapping[str, Any]) -> list[str]:
    found = ["--lora", f"{use['name']}={_number(use.get('strength', 1.0))}"]
    if "sigma" in use:
        found.append("sigma=" + "..".join(map(_number, use["sigma"])))
    if use.get("steps"):
        found.append("steps=" + "-".join(map(str, use["steps"])))
    if use.get("mode"):
        found.append(f"mode={use['mode']}")
    return found


def _like(facts: _Facts) -> str:
    """Return a command that reads the settings from the file of the take."""
    source = ["--init-audio", facts.source] if facts.source else []
    return _line(["soundloom", "generate", "--like", facts.take, *source, *_ending(facts)])


def _ending(facts: _Facts) -> list[str]:
    precision = [] if facts.precision == "auto" else ["--precision", facts.precision]
    subtype = ["--subtype", facts.subtype] if facts.subtype else []
    return [*precision, *subtype, "-o", facts.out]


def _line(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


# Python


def _python(facts: _Facts) -> str:
    lines = ["import soundloom", "", f"model = soundloom.load({_text(facts.model)})"]
    call = _call(facts)
    if call is None:
        uses = {"loras": {"uses": facts.loras}} if facts.loras else {}
        source = f", soundloom.Clip.load({_text(facts.source)})" if facts.source else ""
        record = json.dumps(facts.request | uses, indent=4, ensure_ascii=False)
        record = record.replace("true", "True").replace("null", "None")
        lines += [
            f"request = soundloom.GenerationRequest.from_record({record}{source})",
            "(clip,) = model.run([request])",
        ]
    else:
        lines.append(f"clip = {call}")
    subtype = ', subtype="FLOAT"' if facts.subtype == "float" else ""
    return "\n".join([*lines, f"clip.save({_text(facts.out)}{subtype})", ""])


def _call(facts: _Facts) -> str | None:
    """Return the call that makes the take, or None if its options are not those of a call."""
    rest = dict(facts.request)
    if facts.kind == "extend":
        words: list[str] = []
        if not _take_length(rest, facts, words):
            return None
        rest["seconds"] = float(words[1])
        if "--before" in words:
            rest["before"] = True
    if facts.kind == "loop":
        rest.pop("loop", None)
    guidance = rest.pop("guidance", None)
    if not set(rest) <= _PYTHON_OPTIONS | {"before"} or isinstance(rest.get("mix"), list):
        return None
    if isinstance(guidance, Mapping):
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in guidance.items()}
        options = [f"guidance=soundloom.Guidance({', '.join(f'{key}={value!r}' for key, value in given.items())})"]
    else:
        options = [] if guidance is None else [f"guidance={guidance!r}"]
    first = [_text(facts.source)] if facts.source else []
    regions = [tuple(region) for region in rest.pop("regions", ())]
    first += [repr(regions)] if regions and facts.kind == "inpaint" else []
    options += [f"regions={regions!r}"] if regions and facts.kind == "vary" else []
    first += [repr(rest.pop("seconds"))] if facts.kind == "extend" else []
    first.append(_text(rest.pop("prompt", "")))
    options = [
        f"{name}={_text(value) if isinstance(value, str) else repr(value)}" for name, value in rest.items()
    ] + options
    if facts.loras:
        if any(set(use) - {"name", "strength", "sha256", "mode"} for use in facts.loras):
            return None
        uses = ", ".join(f"{_text(use['name'])}: {use.get('strength', 1.0)!r}" for use in facts.loras)
        options.append(f"loras={{{uses}}}")
    return f"model.{facts.kind}({', '.join([*first, *options])})"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
