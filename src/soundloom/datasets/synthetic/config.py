"""Configuration of the synthetic clips that a model is trained and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from soundloom.config.ranges import Ranged, Within
from soundloom.datasets.synthetic.families import FAMILIES
from soundloom.errors import ConfigError, shown

SOUNDS_FILE = "sounds.toml"  # in a model's folder: the `SoundsConfig` that it was trained on


@dataclass(frozen=True)
class SoundsConfig(Ranged):
    """The selection of synthetic clips; no families means all of them."""

    clips: Annotated[int, Within(1, 1_000_000)]
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0
    families: tuple[str, ...] = ()
    balanced: bool = False  # equally many clips of each family, instead of in proportion to the sampling weights
    scenes: bool = True  # clips of two sources
    reverb: bool = True
    seconds: tuple[Annotated[float, Within(0.05, 600)], ...] = (1.0, 6.0)
    plain: bool = False  # fix every property that captions may omit; spread lengths uniformly over `seconds`
    latent_period: Annotated[int, Within(0, 1_000_000)] = 0  # samples per latent, to tune pitch and tempo to; 0: off

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.families) - set(FAMILIES):
            named = ", ".join(sorted(unknown))
            raise ConfigError(f"unknown families of sounds: {shown(named)}", f"known: {', '.join(FAMILIES)}")
        if len(self.seconds) != 2 or not 0 < self.seconds[0] <= self.seconds[1]:
            raise ConfigError(f"seconds must be a minimum and a maximum, found {list(self.seconds)}")
