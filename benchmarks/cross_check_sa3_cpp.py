"""Compare the networks of sa3.cpp with ours on the same weights and random inputs, on the CPU:

    python -m benchmarks.cross_check_sa3_cpp BIN DIT.gguf SAME.gguf [--quantized DIT-Q8_0.gguf] [--model small-music]

BIN is the folder of sa3.cpp's programs `sa3-dit` and `sa3-codec`. The GGUF files are float32 conversions of the model,
a folder or a catalogue name, which means full size with random weights; docs/research/sa3-cpp.md tells how to make
them. Prints relative errors (norm of the difference over the norm of ours in float32): of one velocity at time 0.5, of
the same without the local embedding, which sa3.cpp leaves out by default, of quantized weights, and of decoded audio.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundloom.bench.cases import require_weights, weights_folder
from soundloom.checkpoints.stable_audio.open import open_checkpoint
from soundloom.config.stable_audio.model import ModelConfig
from soundloom.engines.torch.blocks import fourier_features
from soundloom.engines.torch.stable_audio.engine import TorchEngine

Array = NDArray[np.float32]
TIME = 0.5


class Sa3Cpp:
    """Runs the programs of sa3.cpp on raw float32 files in a temporary folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder

    def velocity(self, weights: Path, inputs: dict[str, Array]) -> Array:
        """Return the velocity (c, t) for `inputs`: x (c, t), tfeat, cross (s, d), global, and maybe local (t, d)."""
        for file in self.folder.glob("dit_*.f32"):
            file.unlink()  # without a file of it, the local embedding is left out
        for name, values in inputs.items():
            (values.T if name == "x" else values).tofile(self.folder / f"dit_{name}.f32")
        channels, frames = inputs["x"].shape
        self._run("sa3-dit", weights, frames, "--in", self.folder, "--ctx", len(inputs["cross"]))
        return self._read("dit_vel").reshape(frames, channels).T

    def decode(self, weights: Path, latents: Array) -> Array:
        """Decode latents (c, t) to audio (2, n)."""
        latents.T.tofile(self.folder / "latents.f32")
        self._run("sa3-codec", weights, latents.shape[1], "--mode", "decode", "--in", self.folder / "latents.f32")
        return self._read("audio").reshape(2, -1)

    def _run(self, program: str, weights: Path, frames: int, *flags: object) -> None:
        command = [self.programs / program, "--gguf", weights, "--frames", frames, "--out", self.folder, *flags]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)

    def _read(self, name: str) -> Array:
        return np.fromfile(self.folder / f"{name}.f32", np.float32)


def relative_error(found: Array, exact: Array) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def check(args: argparse.Namespace, peer: Sa3Cpp) -> Iterator[tuple[str, float]]:
    """Yield a description and the relative error of each comparison."""
    folder = Path(args.model) if Path(args.model).is_dir() else require_weights(args.model, weights_folder())
    checkpoint = open_checkpoint(folder)
    engine, config = TorchEngine(checkpoint, "cpu", "fp32"), checkpoint.config
    assert isinstance(config, ModelConfig)
    random, dit = np.random.default_rng(0), config.dit
    x = random.standard_normal((dit.io_channels, args.frames), np.float32)
    cross = random.standard_normal((config.model.conditioning.prompt.max_length + 1, dit.cond_token_dim), np.float32)
    features = fourier_features(torch.tensor([TIME]), dit.timestep_features_dim)[0].numpy()
    inputs = {"x": x, "tfeat": features, "cross": cross, "global": cross[-1]}
    with_local = inputs | {"local": np.zeros((args.frames, dit.local_add_cond_dim), np.float32)}

    local = torch.zeros(1, dit.local_add_cond_dim, 1)
    condition = engine.condition(torch.tensor(cross)[None], torch.tensor(cross[-1:]), local, 1, (TIME,))
    exact = engine.numpy(engine.velocity(torch.tensor(x)[None], TIME, condition, None))[0]
    yield "velocity, float32", relative_error(peer.velocity(args.dit, with_local), exact)
    skipped = relative_error(peer.velocity(args.dit, inputs), exact)
    yield "velocity, float32, without the local embedding", skipped
    if args.quantized:
        yield f"velocity, {args.quantized.name}", relative_error(peer.velocity(args.quantized, with_local), exact)
    audio = engine.decode(x[None], None)[0]
    yield "decoded audio, float32", relative_error(peer.decode(args.same, x), audio)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, metavar="BIN")
    parser.add_argument("dit", type=Path, metavar="DIT.gguf")
    parser.add_argument("same", type=Path, metavar="SAME.gguf")
    parser.add_argument("--quantized", type=Path, metavar="FILE", help="a quantized transformer to check as well")
    parser.add_argument("--model", default="small-music", metavar="NAME", help="default: small-music, random weights")
    parser.add_argument("--frames", type=int, default=120, metavar="N", help="latent frames, an even number")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for what, error in check(args, Sa3Cpp(args.programs, Path(folder))):
            print(f"{what}: {error:.2e}", flush=True)


if __name__ == "__main__":
    main()
