"""Compare our networks with the port in diffusers: the same random weights, float32, the published head width.

Compared are the conditioner, the transformer, plain and differential, and the sliding-window autoencoder (SAME-L).

Known differences, none of which is hidden in a tolerance:

* Block norms of diffusers have epsilon 1e-6, the published ones 1e-5; these tests set 1e-5.
* Diffusers skips the local layers in text to audio; the published code feeds them zeros, whose biases act. Both
  variants are compared, and the size of the difference is asserted.
* Diffusers stores the packed projections of differential self-attention in another order, so rows are permuted.

Not comparable: padding masks over frames and codec noise, which diffusers lacks, and SAME-S, where it uses a sliding
window and a mapping of kernel size 1, where the published one uses chunks and kernel size 3. Golden cases cover these.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")
if find_spec("diffusers") is None:
    pytest.skip("diffusers, the peer, is not installed", allow_module_level=True)

from benchmarks.diffusers_peer import peer_dit, peer_same  # noqa: E402
from soundloom.checkpoints.stable_audio.open import Checkpoint, open_checkpoint  # noqa: E402
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX  # noqa: E402
from soundloom.engines.torch.stable_audio.dit import NORM_EPS  # noqa: E402
from soundloom.engines.torch.stable_audio.engine import TorchEngine  # noqa: E402
from soundloom.engines.torch.tensors import to_tensor  # noqa: E402
from soundloom.testing.stable_audio import make_random  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.nn.utils.weight_norm.* is deprecated:FutureWarning",  # how diffusers builds its convolutions
)

TOLERANCE = 1e-5  # of the output's peak: float32 with products in another order, over two blocks


def peer_duration(checkpoint: Checkpoint) -> Any:
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    conditioning = checkpoint.config.model.conditioning
    peer = StableAudio3DurationEmbedder(conditioning.cond_dim, max_val=conditioning.seconds_total.max_val)
    linear = "seconds_total.embedder.embedding.1."
    weights = checkpoint.component(CONDITIONER_PREFIX)
    state = {f"linear.{part}": to_tensor(weights[linear + part]) for part in ("weight", "bias")}
    peer.load_state_dict(state | {"freqs": peer.freqs}, strict=True)
    return peer.eval()


def assert_close(found: Any, wanted: Any) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


class Clips:
    """Inputs of two clips: text with padding, durations, times and noisy latents; `local` preserves some frames.

    The latents of the second are so quiet that the epsilon of the norms matters.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        config, frames = checkpoint.config, 21
        normal = np.random.default_rng(0).standard_normal
        self.mask = np.arange(9) < np.array([[7], [3]])
        self.text = normal((2, 9, config.model.conditioning.cond_dim), np.float32)
        self.seconds = np.array([12.5, 500.0], np.float32)  # the second is beyond the clamp
        self.times = torch.tensor([0.75, 0.125])
        loudness = np.array([1, 1e-3], np.float32)[:, None, None]
        self.latents = torch.from_numpy(loudness * normal((2, config.dit.io_channels, frames), np.float32))
        mask = (np.arange(frames) < 8).astype(np.float32)[None, None].repeat(2, 0)
        self.local = np.concatenate([mask, mask * self.latents.numpy()], axis=1)

    def ours(self, engine: TorchEngine, local: Any) -> Any:
        context, duration = engine.embed(torch.from_numpy(self.text), self.mask, self.seconds)
        condition = engine.condition(context, duration, local)
        return engine.velocity(self.latents, self.times[:, None, None], condition, None)

    @torch.no_grad()
    def theirs(self, checkpoint: Checkpoint, local: Any) -> Any:
        duration = peer_duration(checkpoint)(torch.from_numpy(self.seconds))
        context = torch.cat([torch.from_numpy(self.text), duration[:, None]], dim=1)
        mask = torch.from_numpy(np.pad(self.mask, ((0, 0), (0, 1)), constant_values=True))
        dit = peer_dit(checkpoint, NORM_EPS)
        return dit(self.latents, self.times, context, duration, mask, local_add_cond=local).sample


@pytest.fixture(scope="module", params=["small-music", "medium"], ids=["plain", "differential"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a narrow model with heads of 64 channels, 64 memory tokens and 256 latent channels."""
    return open_checkpoint(make_random(request.param, tmp_path_factory.mktemp("tiny"), size="tiny"))


def test_the_transformer_in_an_edit_equals_diffusers(checkpoint: Checkpoint) -> None:
    clips, engine = Clips(checkpoint), TorchEngine(checkpoint, "cpu", "fp32")
    local = torch.from_numpy(clips.local)
    assert_close(clips.ours(engine, local), clips.theirs(checkpoint, local))


def test_the_transformer_without_local_layers_equals_diffusers(checkpoint: Checkpoint) -> None:
    clips, engine = Clips(checkpoint), TorchEngine(checkpoint, "cpu", "fp32")
    assert_close(clips.ours(engine, None), clips.theirs(checkpoint, None))


def test_text_to_audio_runs_local_layers_that_diffusers_skips(checkpoint: Checkpoint) -> None:
    clips, engine = Clips(checkpoint), TorchEngine(checkpoint, "cpu", "fp32")
    ours = clips.ours(engine, torch.zeros(1, checkpoint.config.dit.local_add_cond_dim, 1))
    assert_close(ours, clips.theirs(checkpoint, torch.zeros(clips.local.shape)))
    assert (ours - clips.theirs(checkpoint, None)).abs().max() > 1e-3 * ours.abs().max()


@pytest.fixture(scope="module")
def same_l(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(make_random("same-l", tmp_path_factory.mktemp("same-l"), size="tiny"))


@torch.no_grad()
def test_the_sliding_window_autoencoder_equals_diffusers(same_l: Checkpoint) -> None:
    engine, peer = TorchEngine(same_l, "cpu"), peer_same(same_l)
    samples = 5 * same_l.config.same.downsampling_ratio - 1000  # padded to whole patches, then to whole latents
    audio = 0.3 * np.random.default_rng(1).standard_normal((2, 2, samples), np.float32)
    latents = engine.encode(audio, None)
    assert_close(latents, peer.encode(torch.from_numpy(audio)).latents)
    assert_close(engine.decode(latents, None), peer.decode(torch.from_numpy(latents)).sample)
