"""Compare our text encoder with T5Gemma of transformers: the same random weights, float32, the published head width.

The peer runs eager attention, its only implementation that caps logits. Rows of padding are not compared: the
implementations differ there, and the conditioner replaces them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch engine is not installed")
if find_spec("transformers") is None:
    pytest.skip("transformers, the peer, is not installed", allow_module_level=True)

from benchmarks.diffusers_peer import peer_text  # noqa: E402
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig  # noqa: E402
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder  # noqa: E402

TOLERANCE = 1e-5  # of the output's peak: float32 with products in another order, over three blocks
PLAIN = T5GemmaConfig(
    hidden_size=128,
    num_hidden_layers=3,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=64,
    intermediate_size=192,
    vocab_size=50,
)
GROUPED = replace(PLAIN, num_key_value_heads=1)


def random_encoder(config: T5GemmaConfig) -> T5GemmaEncoder:
    """Build our encoder; its queries and keys are large enough for the cap to bend the logits."""
    torch.manual_seed(0)
    encoder = T5GemmaEncoder(config).eval().requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            parameter.normal_(0, 0.1)
        elif "q_proj" in name or "k_proj" in name:
            parameter.normal_(0, 4 * config.hidden_size**-0.5)
        else:
            parameter.normal_(0, parameter.shape[-1] ** -0.5)
    return encoder


def encode_both(encoder: T5GemmaEncoder) -> tuple[Any, Any]:
    """Encode three prompts of 12, 7 and 1 tokens; return the rows of their tokens, ours and the peer's."""
    ids = torch.randint(3, encoder.config.vocab_size, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(12) < torch.tensor([[12], [7], [1]])
    with torch.no_grad():
        theirs = peer_text(encoder)(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return encoder(ids, mask)[mask], theirs[mask]


@pytest.mark.parametrize("cap", [50.0, None], ids=["capped", "uncapped"])
@pytest.mark.parametrize("config", [PLAIN, GROUPED], ids=["plain", "grouped"])
def test_the_text_encoder_equals_transformers(config: T5GemmaConfig, cap: float | None) -> None:
    ours, theirs = encode_both(random_encoder(replace(config, attn_logit_softcapping=cap)))
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def test_these_weights_reveal_a_missing_cap() -> None:
    capped, _ = encode_both(random_encoder(PLAIN))
    uncapped, _ = encode_both(random_encoder(replace(PLAIN, attn_logit_softcapping=None)))
    assert (capped - uncapped).abs().max() > 100 * TOLERANCE * capped.abs().max()
