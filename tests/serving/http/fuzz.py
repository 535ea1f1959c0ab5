"""Requests that schemathesis generates from a description of routes, and what their answers must hold."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from soundloom.config.musicgen.request import MusicRequest
from soundloom.config.stable_audio.request import GenerationRequest

CONFORMANCE = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
UNKNOWN = "nothing-ü"
STREAMS = ("/v1/events",)  # their answers have no end
REQUEST_FIELDS = sorted({field.name for kind in (GenerationRequest, MusicRequest) for field in fields(kind)})
MODES = {"valid": schemathesis.GenerationMode.POSITIVE, "invalid": schemathesis.GenerationMode.NEGATIVE}


def no_fault(context: Any, response: Any, case: Any) -> None:
    """Fail for 5xx, except for the answer that says that the server is not ready."""
    is_unready = response.status_code == 503 and case.operation.path == "/ready"
    assert response.status_code < 500 or is_unready, f"{response.status_code}: {response.content[:500]!r}"


def with_known(description: dict[str, Any], values: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return a description that names things that exist, and one that does not, in place of any text."""
    found = copy.deepcopy(description)
    for routes in found["paths"].values():
        for operation in routes.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in values:
                    parameter["schema"] = {"enum": [*values[parameter["name"]], UNKNOWN]}
    schemas = found["components"]["schemas"]
    schemas["ExportIn"]["properties"]["takes"]["items"] = {"enum": [*values["take"], UNKNOWN]}
    schemas["UploadKeep"]["properties"]["upload"] = {"enum": [*values["upload"], UNKNOWN]}
    body = schemas["JobIn"]["properties"]
    for name in ("source", "model", "parent"):
        body[name] = {"enum": [*values[name], UNKNOWN, None]}
    anything = {"type": "object", "properties": {name: {} for name in REQUEST_FIELDS}}
    body["request"] = {"anyOf": [{"enum": values["request"]}, anything]}
    return found


def operations(description: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of a description by names such as "GET /v1/jobs"."""
    found = (result.ok() for result in schemathesis.openapi.from_dict(description).get_all_operations())
    return {f"{one.method.upper()} {one.path}": one for one in found if one.path not in STREAMS}


def fuzz(operation: Any, client: Any, mode: str, examples: int) -> dict[int, int]:
    """Send the same generated requests in each run, and check the answers; return how often each status came."""
    seen: dict[int, int] = {}
    url, headers = str(client.base_url).rstrip("/"), {"Authorization": client.headers["authorization"]}

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=MODES[mode]))
    def run(case: Any) -> None:
        answer = case.call_and_validate(
            base_url=url, session=session, headers=headers, checks=[no_fault, *CONFORMANCE], timeout=60
        )
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1

    with requests.Session() as session:
        try:
            run()
        except Unsatisfiable:  # a route without parameters has no invalid requests
            assert mode == "invalid"
    return seen
