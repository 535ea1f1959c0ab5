"""What is known about a named model before any file of it is read: where it is, under which terms, its defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from soundloom.config.stable_audio.model import AutoencoderModelConfig, ModelConfig, parse_model_config
from soundloom.errors import ModelNotFoundError, RequestError


@dataclass(frozen=True)
class License:
    """Terms that somebody must accept before a download.

    `commercial` is "yes", "no" or under what condition; `outputs` says what the terms, at `url`, say of sounds that
    the model makes.
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
    "They cover the T5Gemma text encoder that reads the prompts, and forbid the uses listed in Google's policy.",
    "yes",
    "Google claims no rights in them; its prohibited use policy applies.",
)
NON_COMMERCIAL = License(
    "cc-by-nc-4.0",
    "Creative Commons Attribution-NonCommercial 4.0",
    "https://creativecommons.org/licenses/by-nc/4.0",
    "Free for non-commercial use with attribution. It covers the weights of MusicGen and of everything made from them.",
    "no",
    "The license allows use of the weights for non-commercial purposes alone and does not speak of outputs, so it "
    "grants no commercial use.",
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
    """A file of a repository at its pinned commit; `size` in bytes and `sha256`, or None where none was recorded.

    `about` is how many bytes it has roughly, where that alone is known.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    about: int | None = None


@dataclass(frozen=True)
class Source:
    """One place that offers a model. `revision` is the commit, or None where none was recorded: `checkpoints.hub.pins`.

    `companions` are other places, whose files a model in this layout needs too.
    """

    layout: Literal["published", "bf16-mirror", "npz", "transformers", "int4"]
    repo: str
    files: tuple[RemoteFile, ...]
    revision: str | None = None
    subfolder: str = ""
    companions: tuple[Source, ...] = ()


@dataclass(frozen=True)
class ModelEntry:
    """What is known about a named model before any file of it is read. Times in seconds."""

    name: str
    kind: Literal["generator", "autoencoder", "music", "editor"]
    config: Callable[[], dict[str, Any]] = field(repr=False)
    sources: tuple[Source, ...] = ()
    aliases: tuple[str, ...] = ()
    autoencoder: str = ""
    text_encoder: Source | None = None
    licenses: tuple[License, ...] = (STABILITY, GEMMA)
    default_steps: int = 8
    default_sampler: str = "pingpong"
    default_guidance: float = 1.0
    default_seconds: float = 30.0
    max_seconds: float = 0.0
    notes: str = ""
    public: bool = True
    instead: str = ""  # what to take where it is not public

    @property
    def license(self) -> str:
        return ", ".join(license.name for license in self.licenses)

    @property
    def commercial(self) -> str:
        """Whether outputs may be used commercially: what the strictest of the licenses says."""
        said = [license.commercial for license in self.licenses]
        return "no" if "no" in said else next((one for one in said if one != "yes"), "yes")

    @property
    def is_musicgen(self) -> bool:
        """Whether it is a MusicGen model or an editor, which other commands and options are for."""
        return self.kind in ("music", "editor")

    @property
    def is_packaged(self) -> bool:
        """Whether the weights come with soundloom itself."""
        return self.public and not self.sources

    @property
    def repo(self) -> str:
        return self.sources[0].repo if self.sources else ""

    @property
    def revision(self) -> str | None:
        return self.sources[0].revision if self.sources else None

    def source(self, layout: str) -> Source:
        """The place that offers this model in `layout`; raises ModelNotFoundError."""
        for source in self.sources:
            if source.layout == layout:
                return source
        known = ", ".join(f"{self.name}@{source.layout}" for source in self.sources)
        raise ModelNotFoundError(f"{self.name} is not offered as {layout!r}", f"known: {known or self.name}")

    def parsed_config(self) -> ModelConfig | AutoencoderModelConfig:
        """The configuration of a Stable Audio model. Raises RequestError for one of MusicGen's."""
        if self.is_musicgen:
            raise RequestError(f"{self.name} is not a Stable Audio model, which is asked for here", self.notes)
        return parse_model_config(self.config())


def license_notice(entry: ModelEntry) -> str:
    """What to show before a download."""
    lines = [f"The weights of {entry.name} are not part of soundloom. Downloading them means accepting:"]
    lines += [f"  {license.name} ({license.url})\n    {license.summary}" for license in entry.licenses]
    return "\n".join(lines)
