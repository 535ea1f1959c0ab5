"""Compare MusicGen's language model with that of transformers: logits of given tokens, and greedy tokens."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from soundloom.autoregressive import delay
from soundloom.autoregressive.generation import TokenRequest, count_steps, generate
from soundloom.autoregressive.positions import sinusoids
from soundloom.checkpoints.formats.tensors import from_array
from soundloom.config.musicgen.model import LMConfig
from soundloom.config.musicgen.sampling import GREEDY
from tests.parity.adapter import ADAPTERS
from tests.parity.musicgen.weights import lm_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

ENGINES = [name for name in sorted(ADAPTERS) if find_spec(name)]
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 128, "vocab_size": 32}
MONO, STEREO = {"num_codebooks": 4, "audio_channels": 1}, {"num_codebooks": 8, "audio_channels": 2}
TEXT_WIDTH = 16
IDS = torch.tensor([[5, 9, 3, 1], [7, 1, 0, 0]])
MASK = IDS != 0


def peer(channels: dict[str, int]) -> Any:
    """Build the model of transformers with random weights, large enough for tokens to differ."""
    torch.manual_seed(0)
    decoder = transformers.MusicgenDecoderConfig(**SIZES, **channels, pad_token_id=31, bos_token_id=31)
    decoder.pad_token_id = decoder.bos_token_id = SIZES["vocab_size"]
    text = transformers.T5Config(vocab_size=16, d_model=TEXT_WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    codec = transformers.EncodecConfig(
        sampling_rate=32000, target_bandwidths=[50 * math.log2(SIZES["vocab_size"]) * 4 / 1000], num_filters=2,
        hidden_size=8, codebook_dim=8, codebook_size=SIZES["vocab_size"], upsampling_ratios=[8, 5, 4, 4],
        use_causal_conv=False,
    )  # fmt: skip
    config = transformers.MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)
    model = transformers.MusicgenForConditionalGeneration(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.startswith("decoder") and parameter.ndim == 2:
            parameter.normal_(std=0.15)
    return model


class Ours:
    """The same weights on an engine, with embeddings from the text encoder of transformers."""

    def __init__(self, engine: str, model: Any, channels: dict[str, int]) -> None:
        self.engine = ADAPTERS[engine]()
        self.config = LMConfig(**SIZES, **channels, text_width=TEXT_WIDTH)
        stored = {
            name: from_array(name, value.numpy())
            for name, value in model.state_dict().items()
            if name.startswith(("decoder.", "enc_to_dec_proj."))
        }
        make = self.engine.module("musicgen.lm").MusicGenLM
        self.lm = self.engine.build(lambda: make(self.config), lm_weights(stored), "parity")
        hidden = model.text_encoder(IDS, attention_mask=MASK.long()).last_hidden_state
        array = self.engine.array
        self.text = self.lm.condition(array(hidden.numpy()), array(MASK.numpy()), mask_padding=True)

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        positions, array = np.arange(tokens.shape[-1]), self.engine.array
        table = array(sinusoids(len(positions), self.config.hidden_size))
        return self.engine.numpy(self.lm.logits(self.lm(array(tokens), array(positions), table, self.text)))

    def greedy(self, frames: int) -> np.ndarray:
        request = TokenRequest(2, frames, GREEDY, guidance=3.0)
        make = self.engine.module("musicgen.kv_cache").DecoderState
        *_, last = generate(self.config, request, make(self.lm, self.text, count_steps(self.config, request), True))
        return last.tokens


@pytest.mark.parametrize("channels", [MONO, STEREO], ids=["mono", "stereo"])
@pytest.mark.parametrize("engine", ENGINES)
def test_logits_equal_transformers(engine: str, channels: dict[str, int]) -> None:
    model = peer(channels)
    ours = Ours(engine, model, channels)
    codes = np.random.default_rng(1).integers(0, 32, (2, channels["num_codebooks"], 9))
    tokens = delay.build(codes, ours.config.delays, ours.config.special_token)
    wanted = model(
        input_ids=IDS,
        attention_mask=MASK.long(),
        decoder_input_ids=torch.from_numpy(tokens).reshape(-1, tokens.shape[-1]),
    ).logits.view(*tokens.shape, -1)
    np.testing.assert_allclose(ours.logits(tokens), wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("channels", [MONO, STEREO], ids=["mono", "stereo"])
@pytest.mark.parametrize("engine", ENGINES)
def test_greedy_tokens_equal_transformers(engine: str, channels: dict[str, int]) -> None:
    model, frames = peer(channels), 12
    model.generation_config.pad_token_id = model.generation_config.decoder_start_token_id = SIZES["vocab_size"]
    decoded: list[np.ndarray] = []
    model.audio_encoder.decode = _fake_decode(decoded)
    model.generate(
        input_ids=IDS, attention_mask=MASK.long(), do_sample=False, guidance_scale=3.0, max_new_tokens=frames + 3
    )
    found = Ours(engine, model, channels).greedy(frames)
    assert len(np.unique(found)) > 5
    assert (found[:, :: channels["audio_channels"]] == decoded[0]).all()  # of stereo, the left channel


def _fake_decode(tokens: list[np.ndarray]) -> Any:
    """Return a fake decoder of the codec that records tokens."""

    def decode(codes: Any, audio_scales: Any, **_: Any) -> Any:
        tokens.append(codes[0].numpy())
        return transformers.models.encodec.modeling_encodec.EncodecDecoderOutput(torch.zeros(2, 1, 640))

    return decode
