"""Entries of the model catalogue: sources, licenses and defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from soundloom.config.stable_audio.model import AutoencoderModelConfig, ModelConfig, parse_model_config
from soundloom.errors import ModelNotFoundError, RequestError

DEFAULT_SECONDS = 30.0


@dataclass(frozen=True)
class License:
    """A license that users must accept before a download.

    `commercial` is "yes", "no" or a condition; `outputs` summarizes the terms for generated audio.
    """

    id: str
    name: str
    url: str
    summary: str
    commercial: str
    outputs: str


STABILITY = License(
    "stability-community",
    "Stability AI Community License",
    "https://stability.ai/community-license-agreement",
    "Free for research, personal use and organizations under one million US dollars of yearly revenue; "
    "larger ones need an agreement with Stability AI. Its acceptable use policy applies.",
    "below $1M a year",
    "You own them, and may use them commercially with a yearly revenue below one million US dollars, for which the "
    "license asks you to register with Stability AI. Above that revenue it ends, and you need an agreement with them.",
)
GEMMA = License(
    "gemma",
    "Gemma Terms of Use",
    "https://ai.google.dev/gemma/terms",
    "They cover the T5Gemma text encoder, and forbid the uses listed in Google's policy.",
    "yes",
    "Google claims no rights in them; its prohibited use policy applies.",
)
NON_COMMERCIAL = License(
    "cc-by-nc-4.0",
    "Creative Commons Attribution-NonCommercial 4.0",
    "https://creativecommons.org/licenses/by-nc/4.0",
    "Free for non-commercial use with attribution. It covers the weights of MusicGen and all derived weights.",
    "no",
    "The license allows only non-commercial use of the weights. It does not mention outputs, so it grants no "
    "commercial use of them.",
)
APACHE = License(
    "apache-2.0",
    "Apache License 2.0",
    "https://www.apache.org/licenses/LICENSE-2.0",
    "Free for any use.",
    "yes",
    "The license sets no condition for them, so they may be used commercially.",
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at its pinned commit, with size in bytes and sha256 if they are known.

    `approximate_size` is used when the exact size is not known.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    approximate_size: int | None = None


@dataclass(frozen=True)
class Source:
    """A repository that offers a model in one layout. `revision` is the pinned commit.

    Without one, the commit of the first download is used: see `checkpoints.hub.first_downloads`.
    `auxiliary` lists other repositories whose files the model needs too.
    """

    layout: Literal["published", "bf16-mirror", "npz", "transformers", "int4", "adapter"]
    repo: str
    files: tuple[RemoteFile, ...]
    revision: str | None = None
    subfolder: str = ""
    auxiliary: tuple[Source, ...] = ()


@dataclass(frozen=True)
class ModelEntry:
    """A named model, described without reading its files. Times are in seconds."""

    name: str
    kind: Literal["generator", "autoencoder", "music", "editor"]
    config: Callable[[], dict[str, Any]] = field(repr=False)
    sources: tuple[Source, ...] = ()
    aliases: tuple[str, ...] = ()
    autoencoder: str = ""
    text_encoder: Source | None = None
    licenses: tuple[License, ...] = (STABILITY, GEMMA)
    default_seconds: float = DEFAULT_SECONDS  # of new clips, for Stable Audio models
    max_seconds: float = 0.0
    notes: str = ""
    public: bool = True
    alternative: str = ""  # a hint for models that are not public

    @property
    def license(self) -> str:
        return ", ".join(license.name for license in self.licenses)

    @property
    def commercial(self) -> str:
        """Whether outputs may be used commercially, according to the strictest license."""
        terms = [license.commercial for license in self.licenses]
        return "no" if "no" in terms else next((term for term in terms if term != "yes"), "yes")

    @property
    def is_musicgen(self) -> bool:
        """Whether it is a MusicGen or Instruct-MusicGen model, which have their own commands and options."""
        return self.kind in ("music", "editor")

    @property
    def is_packaged(self) -> bool:
        """Whether the weights are part of the package."""
        return self.public and not self.sources

    @property
    def repo(self) -> str:
        return self.sources[0].repo if self.sources else ""

    @property
    def revision(self) -> str | None:
        return self.sources[0].revision if self.sources else None

    def source(self, layout: str) -> Source:
        """Return the source of this model in `layout`. Raises ModelNotFoundError."""
        for source in self.sources:
            if source.layout == layout:
                return source
        known = ", ".join(f"{self.name}@{source.layout}" for source in self.sources)
        raise ModelNotFoundError(f"{self.name} is not available as {layout!r}", f"use {known or self.name}")

    def parsed_config(self) -> ModelConfig | AutoencoderModelConfig:
        """Parse the configuration of a Stable Audio model. Raises RequestError for MusicGen models."""
        if self.is_musicgen:
            raise RequestError(f"{self.name} is not a Stable Audio model, which this needs", self.notes)
        return parse_model_config(self.config())


def license_notice(entry: ModelEntry) -> str:
    """Return the text to show before a download."""
    lines = [f"The weights of {entry.name} are not part of soundloom. By downloading them you accept:"]
    if not entry.sources:
        lines = [f"{entry.name} is included in soundloom. Its license:"]
    lines += [f"  {license.name} ({license.url})\n    {license.summary}" for license in entry.licenses]
    return "\n".join(lines)
