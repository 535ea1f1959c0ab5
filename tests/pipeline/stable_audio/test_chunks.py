"""Test that coding in chunks equals a single pass at every length, for both kinds of attention."""

import tracemalloc

import numpy as np
import pytest
import torch

from soundloom.config.catalogue import require_entry
from soundloom.config.parse import parse
from soundloom.config.stable_audio.same import SAMEConfig
from soundloom.pipeline.stable_audio.chunks import decode_chunks, encode_chunks

# One pass over a long sequence has larger rotary angles, whose rounding is what differs.
TOLERANCE = 1e-4  # of the peak
LATENTS = (1, 2, 7, 8, 9, 31, 32, 33, 40, 57)
CHUNK = 8


def tiny_same(name: str) -> SAMEConfig:
    """Return a published autoencoder's configuration with small patches and a width of one head."""
    data = require_entry(name).config()["model"]
    for half, channels in (("encoder", "in_channels"), ("decoder", "out_channels")):
        data[half]["config"] |= {"channels": 64, "c_mults": [1], "latent_dim": 6, "transformer_depths": [4]}
        data[half]["config"][channels] = 8
    data["decoder"]["config"]["sinusoidal_blocks"] = [2]
    data["pretransform"]["config"]["patch_size"] = 4
    data["bottleneck"]["config"]["dim"] = 6
    return parse(SAMEConfig, data | {"latent_dim": 6, "downsampling_ratio": 64})


@pytest.fixture(scope="module", params=["same-s", "same-l"])
def codec(request):
    from soundloom.engines.torch.stable_audio.same import SAME

    config = tiny_same(request.param)
    torch.manual_seed(0)
    same = SAME(config).requires_grad_(False).eval()
    for parameter in same.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return config, same


@pytest.mark.parametrize("latents", LATENTS)
def test_decoding_in_chunks_equals_one_pass(codec, latents):
    config, same = codec
    z = np.random.default_rng(latents).standard_normal((2, 6, latents)).astype(np.float32)
    full = same.decode(torch.from_numpy(z)).numpy()[..., : latents * 64]
    plan = decode_chunks(latents, config, "exact", chunk=CHUNK)
    pieces = plan.run(z, lambda piece: same.decode(torch.from_numpy(piece)).numpy())
    np.testing.assert_allclose(pieces, full, atol=TOLERANCE * np.abs(full).max())


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 640, 1000, 2048, 3333])
def test_encoding_in_chunks_equals_one_pass(codec, samples):
    config, same = codec
    audio = np.random.default_rng(samples).standard_normal((1, 2, samples)).astype(np.float32)
    full = same.encode(torch.from_numpy(audio)).numpy()
    plan = encode_chunks(samples, config, "exact", chunk=CHUNK)
    pieces = plan.run(audio, lambda piece: same.encode(torch.from_numpy(piece)).numpy())
    np.testing.assert_allclose(pieces, full, atol=TOLERANCE * np.abs(full).max())


@pytest.mark.parametrize("algorithm", ["exact", "published", "mlx"])
@pytest.mark.parametrize("latents", range(1, 300, 13))
def test_every_latent_is_written_once_and_in_order(algorithm, latents):
    """With the identity as coder, the chunks must reassemble the input."""
    config = require_entry("same-l").parsed_config().same
    z = np.arange(latents)[None, None]
    plan = decode_chunks(latents, config, algorithm)
    out = plan.run(z, lambda piece: np.repeat(piece, 4096, axis=-1))
    np.testing.assert_array_equal(out[0, 0, ::4096], np.arange(latents))


def test_chunks_do_not_grow_with_length():
    config = require_entry("same-s").parsed_config().same
    longest = [max(chunk.stop - chunk.start for chunk in decode_chunks(n, config, "exact").chunks) for n in (700, 4092)]
    assert longest[0] == longest[1]


def test_decoding_allocates_the_result_once():
    config = require_entry("same-s").parsed_config().same
    z = np.zeros((1, 1, 4096), np.float32)
    plan = decode_chunks(z.shape[-1], config, "exact")
    tracemalloc.start()
    try:
        full = plan.run(z, lambda piece: np.repeat(piece, config.downsampling_ratio, axis=-1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * full.nbytes
