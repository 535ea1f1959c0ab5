"""Whether two reports may be compared: only figures of equal recipes on equal data say something about models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from soundloom.errors import RequestError, shown
from soundloom.evaluation.reports.record import Report, subject_name

MEASURE_AGAIN = "measure both with the same command but for the model"
MAX_HASH = 12


def require_comparable(base: Report, other: Report) -> None:
    """Raise RequestError that names the first field in which two reports differ."""
    difference = next(_differences(base, other), None)
    if difference:
        field, first, second = difference
        raise RequestError(
            f"the reports of {subject_name(base)} and {subject_name(other)} cannot be compared: {field} differs, "
            f"{_short(first)} against {_short(second)}",
            MEASURE_AGAIN,
        )


def _differences(base: Report, other: Report) -> Iterator[tuple[str, object, object]]:
    """Yield the fields that differ: kind, data, recipes, embedders."""
    if base.kind != other.kind:
        yield "the kind of report", base.kind, other.kind
    for field, name in (
        ("manifest", "the list of clips"),
        ("reference_hash", "the reference"),
        ("seconds", "the length"),
    ):
        first, second = base.data.get(field), other.data.get(field)
        if first != second and not (isinstance(first, Mapping) and isinstance(second, Mapping)):  # statistics
            yield name, _named(base, field), _named(other, field)
    if base.data.get("manifest") is None and {c.id for c in base.clips}.isdisjoint(c.id for c in other.clips):
        yield "every id of a clip", base.clips[:1] and base.clips[0].id, other.clips[:1] and other.clips[0].id
    if sorted(base.recipes) != sorted(other.recipes):
        yield _recipe_field(base, other)
    metrics = {metric.name: metric for metric in other.metrics}
    for metric in base.metrics:
        same = metrics.get(metric.name)
        for field in ("recipe", "embedder"):
            if same and getattr(metric, field) != getattr(same, field):
                yield f"the {field} of {metric.name}", getattr(metric, field), getattr(same, field)


def _named(report: Report, field: str) -> str:
    """Return a value of the data, a hash with the name of what it stands for."""
    names = {"reference_hash": report.data.get("reference")}
    value = _short(report.data.get(field))
    return f"{shown(names[field])} ({value})" if names.get(field) else value


def _recipe_field(base: Report, other: Report) -> tuple[str, object, object]:
    """Return the first field in which the recipes differ, if each report has one, else their hashes."""
    if len(base.recipes) == len(other.recipes) == 1:
        (first,), (second,) = base.recipes.values(), other.recipes.values()
        for field in {**first, **second}:
            if field not in ("name", "about", "hash") and first.get(field) != second.get(field):
                return f"the field {field} of the recipe", first.get(field), second.get(field)
    return "the recipe", sorted(base.recipes), sorted(other.recipes)


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value)) or "none"
    text = "none" if value is None or value == "" else shown(value)
    is_hash = len(text) > MAX_HASH and all(letter in "0123456789abcdef" for letter in text)
    return text[:MAX_HASH] if is_hash else text
