"""Which runner answers which recorded function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.case import Case
from parity.generation import GenerateCase
from parity.models import DiTCase, SAMECase, TextCase
from parity.sampling import SamplingCase

# fn of a call: the class that holds the case's model, and its method.
RUNNERS = {
    "dit.timestep_features": (DiTCase, "features"),
    "dit.forward": (DiTCase, "forward"),
    "ae.encode": (SAMECase, "encode"),
    "ae.encode_audio": (SAMECase, "encode"),
    "ae.preprocess_audio_list_for_encoder + ae.encode_audio": (SAMECase, "encode_list"),
    "ae.decode": (SAMECase, "decode"),
    "ae.decode_audio": (SAMECase, "decode"),
    "pretransform.decode": (SAMECase, "decode"),
    "t5gemma.encode": (TextCase, "encode"),
    "conditioner.apply_padding": (TextCase, "padding"),
    "conditioner.seconds_total": (TextCase, "seconds"),
    "conditioner + get_conditioning_inputs": (TextCase, "conditioning_inputs"),
    "build_schedule": (SamplingCase, "schedule"),
    "generate": (GenerateCase, "generate"),
    **{f"sample.{name}": (SamplingCase, "sample") for name in ("euler", "rk4", "dpmpp", "pingpong")},
}


def runner_for(case: Case, engine: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what runs a call of this case. Raises LookupError for a case that nothing here can run."""
    unknown = {call["fn"] for call in case.data["calls"]} - set(RUNNERS)
    if unknown:
        raise LookupError(f"no runner for {', '.join(sorted(unknown))}")
    holders: dict[type, Any] = {}

    def run(call: dict[str, Any]) -> dict[str, Any]:
        holder, method = RUNNERS[call["fn"]]
        if holder not in holders:
            holders[holder] = holder(case, engine)
        return getattr(holders[holder], method)(call, case.inputs(call))

    return run
