"""Flags that several commands declare with their own default or help."""

from __future__ import annotations

import math
from functools import partial

from soundloom.cli.options.flags import flag
from soundloom.errors import RequestError

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8", "fp8")

prompt_flag = partial(flag, "-p", "--prompt", default=(), action="append", metavar="TEXT", help="same as PROMPT")
seconds_flag = partial(flag, "--seconds", "--duration", type=float, metavar="S")
steps_flag = partial(flag, "--steps", type=int, metavar="N")
noise_flag = partial(flag, "--noise", "--init-noise-level", type=float, metavar="LEVEL")
crossfade_flag = partial(
    flag,
    "--crossfade",
    type=float,
    metavar="S",
    help="fade at each edge of generated audio (default: 0.01)",
)
bars_flag = partial(flag, "--bars")
bpm_flag = partial(flag, "--bpm", type=float, metavar="BPM")
meter_flag = partial(flag, "--meter", metavar="N/M")
seam_flag = partial(
    flag,
    "--seam",
    type=float,
    metavar="S",
    help="seconds around the end and the start of a loop that are generated once more (default: 0.5)",
)
precision_flag = partial(flag, "--precision", hidden=("--dit-dtype",), choices=PRECISIONS)
inference_precision_flag = partial(precision_flag, "--dit-dtype", hidden=())  # as in the published package
model_flag = partial(flag, "--model", "--dit", metavar="NAME")
models_flag = partial(flag, "--models")
offline_flag = partial(flag, "--offline", action="store_true", help="never use the network")
subtype_flag = partial(flag, "--subtype", hidden=("--bits",), choices=("16", "24", "float"))
out_flag = partial(flag, "-o", "--out", metavar="FILE")
overwrite_flag = partial(flag, "--overwrite")
partial_flag = partial(flag, "--partial", default=False, action="store_true")
layout_flag = partial(flag, "--layout", metavar="LAYOUT")
lora_flag = partial(flag, "--lora", action="append", metavar="FILE[=S]")
combine_flag = partial(flag, "--lora-combine", choices=("chain", "sum"))
bases_flag = partial(flag, "--bases", hidden=("--svd-bases", "--svd-bases-path"), metavar="FILE")
weights_flag = partial(flag, "--weights")
type_flag = partial(flag, "--type", default="lora")
ema_flag = partial(flag, "--ema")
rank_flag = partial(flag, "--rank", type=int, metavar="R")
seed_flag = partial(flag, "--seed", metavar="N")
compat_flag = partial(flag, "--compat")
work_flag = partial(flag, "--work", metavar="FOLDER")
measure_flag = partial(flag, "--measure")
name_flag = partial(flag, "--name")
prompts_flag = partial(flag, "--prompts", type=int, metavar="N")
prompt_file_flag = partial(prompts_flag, type=None, metavar="FILE")
seeds_flag = partial(flag, "--seeds", default=1, type=int, metavar="K", help="clips per prompt (default: 1)")
cfg_flag = partial(flag, "--cfg", "--cfg-scale", "--guidance", type=float, metavar="SCALE")
sampler_flag = partial(flag, "--sampler", metavar="NAME")
strength_flag = partial(flag, "--lora-strength", metavar="S")
limit_flag = partial(flag, "--limit", type=int, metavar="N")
held_out_flag = partial(flag, "--held-out", metavar="DATA")
sounds_flag = partial(flag, "--sounds", metavar="SET")
window_flag = partial(flag, "--window", type=float, metavar="S")
precisions_flag = partial(flag, "--precisions", nargs="+", metavar="NAME")
reference_flag = partial(flag, "--reference", metavar="SET", help="a set of sounds, or the name of a saved reference")


def require_length(seconds: float) -> None:
    """Raise RequestError unless the value of --seconds is finite and positive."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise RequestError(f"--seconds must be a number above 0, found {seconds:g}")
