"""Check keyword arguments of the Python interface, and suggest the right name for unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from soundloom.errors import RequestError, shown

# Names of the same options in other packages.
OTHER_NAMES = {
    "audio_end_in_s": "seconds",
    "audio_length_in_s": "seconds",
    "callback": "progress",
    "callback_on_step_end": "progress",
    "cfg": "guidance",
    "cfg_coef": "guidance",
    "cfg_scale": "guidance",
    "dtype": "precision",
    "duration": "seconds",
    "fade": "crossfade",
    "generator": "seed",
    "guidance_scale": "guidance",
    "init_noise_level": "noise",
    "inpaint_range": "regions",
    "length": "seconds",
    "license": "accept_license",
    "local_files_only": "offline",
    "negative": "negative_prompt",
    "noise_level": "noise",
    "num_inference_steps": "steps",
    "num_steps": "steps",
    "ranges": "regions",
    "scheduler": "sampler",
    "seconds_total": "seconds",
    "strength": "noise",
    "torch_dtype": "precision",
}


def check_options(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise RequestError for unknown keyword arguments of a call."""
    names = sorted(known)
    unknown = [name for name in given if name not in names]
    if not unknown:
        return
    quoted = ", ".join(repr(shown(name)) for name in unknown)
    guesses = [guess for name in unknown if (guess := guess_option(name, names))]
    hint = f"did you mean {', '.join(guesses)}?" if guesses else f"options: {', '.join(names)}"
    raise RequestError(f"{call} has no option{'s' if len(unknown) > 1 else ''} {quoted}", hint)


def guess_option(name: str, names: Collection[str]) -> str | None:
    """Return the option that an unknown name may mean, or None."""
    meant = OTHER_NAMES.get(name.lower())
    close = [meant] if meant in names else difflib.get_close_matches(name.lower(), names, 1)
    return close[0] if close else None
