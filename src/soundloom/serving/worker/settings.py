"""How a worker runs models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a worker; `sources` are the folders or files of models that are not in the catalogue, by name."""

    objects: str  # folder of the object store
    engine: str = "auto"
    device: str | None = None
    precision: str = "auto"
    threads: int | None = None
    offline: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    on_ray: bool = False  # on a Ray cluster instead of this machine
