"""Run golden calls without a network: schedules and samplers."""

from __future__ import annotations

from typing import Any

import numpy as np

from soundloom.config.parse import parse
from soundloom.config.stable_audio.model import ShiftConfig
from soundloom.config.stable_audio.request import sampler_name
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.diffusion.schedules import schedule

Outputs = dict[str, np.ndarray]


class SamplingCase:
    """`build_schedule` and `sample.*` calls."""

    def __init__(self, case: Any, engine: Any) -> None:
        self.engine = engine

    def schedule(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        args = call["args"]
        shift = None if args["dist_shift"] is None else parse(ShiftConfig, args["dist_shift"])
        lengths = inputs["effective_seq_len"].tolist() if inputs else args["fallback_seq_len"]
        t = schedule(args["steps"], level=args["sigma_max"], shift=shift, lengths=lengths, start="published")
        return {"t": t[..., : None if args["include_endpoint"] else -1].astype(np.float32)}

    def sample(self, call: dict[str, Any], inputs: dict[str, Any]) -> Outputs:
        """Run a sampler with the analytic velocity tanh(a x + b t)."""
        array = self.engine.array
        a, b = array(inputs["a"]), array(inputs["b"])
        noise = inputs.get("noise", np.zeros((99, *inputs["x"].shape), np.float32))
        sampler = SAMPLERS[sampler_name(call["fn"].split(".")[1])]
        steps = sampler(
            lambda x, t: self.engine.tanh(x * a + b * t),
            array(inputs["x"]),
            Times(inputs["sigmas"], array),
            lambda step: array(noise[step]),
        )
        *_, x = steps
        return {"x": self.engine.numpy(x)}
