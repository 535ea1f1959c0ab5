"""The shared options of commands that generate or edit audio."""

from __future__ import annotations

from dataclasses import dataclass

from soundloom.cli.options.loras import LoraOptions
from soundloom.cli.options.model import AutoencoderOptions, ModelOptions, PrecisionOptions, ServerOptions
from soundloom.cli.options.output import OutputOptions
from soundloom.cli.options.sampling import CfgOptions, SamplingOptions, SeedOptions, TokenSamplingOptions
from soundloom.cli.options.tempo import TempoOptions


@dataclass(frozen=True)
class GenerationOptions(
    SamplingOptions,
    LoraOptions,
    ModelOptions,
    ServerOptions,
    PrecisionOptions,
    AutoencoderOptions,
    TempoOptions,
    OutputOptions,
):
    """The options of commands that run Stable Audio."""


@dataclass(frozen=True)
class MusicOptions(
    SeedOptions,
    CfgOptions,
    TokenSamplingOptions,
    ModelOptions,
    ServerOptions,
    PrecisionOptions,
    TempoOptions,
    OutputOptions,
):
    """The options of commands that run MusicGen."""
