"""Options that select and load a model."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from soundloom.checkpoints.stable_audio.bundle import DEFAULT_GROUP_SIZE
from soundloom.cli.options.flags import flag, integer, switch
from soundloom.cli.options.shared import inference_precision_flag, model_flag, offline_flag
from soundloom.engines.threads import MAX_THREADS
from soundloom.errors import RequestError


def _thread_count(text: str) -> int:
    count = integer(text)
    if not 1 <= count <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{count} is not between 1 and {MAX_THREADS}")
    return count


@dataclass(frozen=True)
class LicenseOptions:
    """Model and device."""

    accept_license: bool = switch(
        "--accept-license", hidden=("--accept-licence",), help="accept the license of downloaded weights"
    )


@dataclass(frozen=True)
class DownloadOptions(LicenseOptions):
    """Model and device."""

    revision: str | None = flag("--revision", metavar="COMMIT", help="download this commit instead of the pinned one")
    offline: bool | None = offline_flag()


@dataclass(frozen=True)
class EngineOptions:
    """Model and device."""

    engine: str = flag("--engine", default="auto", metavar="NAME", help="auto, torch, or mlx")


@dataclass(frozen=True)
class ThreadOptions:
    """Model and device."""

    threads: int | None = flag(
        "--threads", type=_thread_count, metavar="N", help="CPU threads of PyTorch (default: the usable cores)"
    )


@dataclass(frozen=True)
class DeviceOptions(ThreadOptions):
    """Model and device."""

    device: str | None = flag("--device", metavar="NAME", help="cpu, cuda, mps, or gpu (default: the fastest)")


@dataclass(frozen=True)
class ModelOptions(EngineOptions, DeviceOptions, DownloadOptions):
    """Model and device."""

    model: str | None = model_flag(help="a name from `soundloom models`, a folder, or a file (default: mini)")

    @property
    def model_name(self) -> str:
        return self.model or "mini"


@dataclass(frozen=True)
class ServerOptions:
    """Model and device."""

    server: str | None = flag(
        "--server", metavar="URL", help="run on the soundloom server there; SOUNDLOOM_TOKEN is its token"
    )


@dataclass(frozen=True)
class PrecisionOptions:
    """Precision and memory."""

    precision: str | None = inference_precision_flag(
        help="precision of the transformer (default: auto; fp16 on GPUs, the fastest native format on CPUs)",
    )
    no_half: bool = switch("--no-half", help="same as --precision fp32")
    free_models: bool = flag(
        "--free-models",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="free each network as soon as it is no longer needed (default: yes)",
    )

    @property
    def transformer_precision(self) -> str:
        if self.no_half and self.precision not in (None, "fp32"):
            raise RequestError(f"--no-half means --precision fp32, but --precision {self.precision} was given too")
        return "fp32" if self.no_half else self.precision or "auto"


@dataclass(frozen=True)
class AutoencoderOptions:
    """Autoencoder."""

    decoder: str | None = flag(
        "--decoder", choices=("same-s", "same-l"), help="fail unless the model uses this autoencoder"
    )
    chunked_decode: bool = flag(
        "--chunked-decode",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="no effect, for compatibility: long audio is always decoded in chunks, with identical results",
    )


@dataclass(frozen=True)
class GroupSizeOptions:
    """Options."""

    group_size: int = flag(
        "--group-size",
        default=DEFAULT_GROUP_SIZE,
        hidden=("--group",),
        type=int,
        metavar="N",
        help="weights that share a scale",
    )
