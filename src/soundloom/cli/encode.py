"""`soundloom encode`: sound to latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundloom.atomic import replacing, write_faults
from soundloom.audio.clip import Clip
from soundloom.cli.flags import flag, switch
from soundloom.cli.groups import ModelOptions
from soundloom.cli.opening import open_model
from soundloom.cli.results import print_results


@dataclass(frozen=True)
class Options(ModelOptions):
    """Turn a sound into the latents of a model's autoencoder, an array (channels, frames) in a .npy file."""

    input: str = flag(metavar="IN", help="a sound file of any rate")
    out: str | None = flag("-o", "--out", metavar="FILE", help="default: NAME.npy")
    json: bool = switch("--json", help="print one JSON object instead of the path")


def run(options: Options) -> None:
    clip = Clip.load(options.input)
    path = Path(options.out) if options.out else Path(options.input).with_suffix(".npy")
    with write_faults(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=options.out is not None) as new:
        latents = open_model(options).encode(clip)
        with write_faults(path), new.open("wb") as file:
            np.save(file, latents)
    found = {"files": [str(path)], "shape": list(latents.shape), "seconds": clip.seconds}
    print_results(found if options.json else [str(path)])
