"""Convert reports to the values of report.json and back.

JSON has no NaN and no infinity: such a number is null, and a key beside it, `NAME_reason`, says which it was.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import distributions
from typing import Any, cast

from soundloom.errors import ConfigError, shown
from soundloom.evaluation.metrics import Metric
from soundloom.evaluation.reports.machine import commit, host
from soundloom.evaluation.reports.record import ClipRecord, Curve, Difference, Gate, Report, failure_counts
from soundloom.evaluation.reports.verdict import verdict_line
from soundloom.version import __version__

SCHEMA = 1
REASON = "_reason"
REASONS = {"not a number": math.nan, "infinite": math.inf, "minus infinite": -math.inf}
PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "torch", "transformers", "mlx")  # that can change a figure


def document(report: Report) -> dict[str, Any]:
    """Return a report as JSON values; what differs between two equal runs is in "run" alone."""
    packages = installed_packages()
    return {
        "schema": SCHEMA,
        "kind": report.kind,
        "verdict": verdict_line(report),
        "run": to_json({"date": report.date, "host": host(), "cost": report.cost}),
        "subject": to_json(report.subject),
        "data": to_json(report.data),
        "recipes": to_json(report.recipes),
        "metrics": [to_json(metric.record()) for metric in report.metrics],
        "comparison": [to_json(asdict(difference)) for difference in report.comparison],
        "gates": [asdict(gate) for gate in report.gates],
        "failures": failure_counts(report),
        "curves": [to_json(asdict(curve)) for curve in report.curves],
        "clips": [to_json(asdict(clip)) for clip in report.clips],
        "notes": list(report.notes),
        "reproduce": {
            "command": report.command,
            "soundloom": __version__,
            "commit": commit(),
            "python": platform.python_version(),
            "packages": {name: packages[name] for name in PACKAGES if name in packages},
            "packages_hash": packages_hash(packages),
        },
    }


def parse_document(data: Any, name: str) -> Report:
    """Return the report in the JSON values of a file called `name`. Raises ConfigError."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        hint = "it needs a newer soundloom" if isinstance(schema, int) and schema > SCHEMA else ""
        raise ConfigError(f"{name} is not a report of schema {SCHEMA}, found {shown(schema)}", hint)
    try:
        return _report(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{name} is not a complete report: {type(error).__name__}: {shown(str(error))}") from error


def _report(data: Mapping[str, Any]) -> Report:
    return Report(
        kind=data["kind"],
        subject=from_json(data["subject"]),
        data=from_json(data["data"]),
        metrics=tuple(Metric(**_fields(item, "passed")) for item in data["metrics"]),
        recipes=from_json(data["recipes"]),
        clips=tuple(ClipRecord(**_fields(item)) for item in data["clips"]),
        curves=tuple(Curve(**_curve(item)) for item in data["curves"]),
        cost=from_json(data["run"]["cost"]),
        command=data["reproduce"]["command"],
        notes=tuple(data["notes"]),
        comparison=tuple(Difference(**_fields(item)) for item in data["comparison"]),
        gates=tuple(Gate(**item) for item in data["gates"]),
        date=data["run"]["date"],
    )


def _fields(item: Mapping[str, Any], *derived: str) -> dict[str, Any]:
    """Return the fields of a record: lists as tuples, without what is derived."""
    values = cast("dict[str, Any]", from_json(item))
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key not in derived}


def _curve(item: Mapping[str, Any]) -> dict[str, Any]:
    values = _fields(item)
    return values | {"intervals": tuple(tuple(pair) for pair in values["intervals"])}


def to_json(value: Any) -> Any:
    """Return JSON values; numbers that JSON does not have become null, with a reason beside them."""
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for key, part in value.items():
            out[str(key)] = to_json(part)
            if reason := _reason(part):
                out[f"{key}{REASON}"] = reason
        return out
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(part) for part in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # an array, or a number of NumPy
        return to_json(value.tolist())
    return str(value)


def _reason(value: Any) -> Any:
    """Say which number that JSON does not have a value is, or which its parts are; None if it has no such number."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"
    if isinstance(value, list | tuple):
        reasons = [_reason(part) for part in value]
        return reasons if any(reasons) else None
    return None


def from_json(value: Any) -> Any:
    """Undo `to_json`, except that tuples are lists."""
    if isinstance(value, Mapping):
        reasons = {key.removesuffix(REASON): r for key, r in value.items() if key.endswith(REASON)}
        reasons = {key: reason for key, reason in reasons.items() if key in value and _is_reason(reason)}
        return {
            key: _restored(part, reasons.get(key))
            for key, part in value.items()
            if not (key.endswith(REASON) and key.removesuffix(REASON) in reasons)
        }
    return [from_json(part) for part in value] if isinstance(value, list) else value


def _is_reason(value: Any) -> bool:
    """Return whether a value is a reason, or a list of reasons and null."""
    if isinstance(value, list):
        return any(value) and all(part is None or _is_reason(part) for part in value)
    return isinstance(value, str) and value in REASONS


def _restored(value: Any, reason: Any) -> Any:
    if isinstance(reason, list) and isinstance(value, list):
        return [_restored(part, why) for part, why in zip(value, reason, strict=True)]
    return REASONS[reason] if isinstance(reason, str) and value is None else from_json(value)


def installed_packages() -> dict[str, str]:
    """Return the versions of all installed packages by name."""
    found = {(item.metadata["Name"] or "").lower(): item.version or "" for item in distributions()}
    return dict(sorted((name, version) for name, version in found.items() if name))


def packages_hash(packages: Mapping[str, str]) -> str:
    """Return the SHA-256 of the names and versions of packages."""
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
