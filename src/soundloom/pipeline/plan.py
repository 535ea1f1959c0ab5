"""Plans: clips with every setting resolved, in groups that run together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_BATCH = 16  # clips that go through the networks together
PlannedT = TypeVar("PlannedT")


@dataclass(frozen=True)
class Plan(Generic[PlannedT]):
    """Clips to generate, and groups of their indices, in the order in which they run.

    `notices` tell a user how requests were understood.
    """

    clips: Sequence[PlannedT]
    groups: Sequence[Sequence[int]]
    notices: tuple[str, ...] = ()


def group_alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """Group the indices of equal keys, in order of first appearance, at most `MAX_BATCH` per group."""
    alike: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        alike.setdefault(key, []).append(index)
    return [
        indices[start : start + MAX_BATCH] for indices in alike.values() for start in range(0, len(indices), MAX_BATCH)
    ]
