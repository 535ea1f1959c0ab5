"""Build the networks of diffusers and transformers with our weights, as references for tests and benchmarks.

diffusers stores the packed projections of differential self-attention in another order, so rows are permuted. Its SAME
has a sliding window and a mapping of kernel size 1 for both sizes. SAME-S differs from that, so its peer has random
weights and serves only to compare speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from soundloom.checkpoints.formats.tensors import LazyTensor
from soundloom.checkpoints.stable_audio.open import Checkpoint
from soundloom.checkpoints.stable_audio.shapes import CONDITIONER_PREFIX, DIT_PREFIX, SAME_PREFIX
from soundloom.engines.torch.load import to_tensor
from soundloom.engines.torch.stable_audio.t5gemma import T5GemmaEncoder

PEER_ROWS = (0, 3, 1, 4, 2)  # our q, k, v, q', k' in diffusers' order: q, q', k, k', v

DIT_NAMES = (
    ("transformer.layers.", "transformer_blocks."),
    ("transformer.project_", "proj_"),
    ("transformer.", ""),
    ("ff.ff.0.proj.", "ff.proj_in."),
    ("ff.ff.2.", "ff.proj_out."),
)
SAME_NAMES = (
    ("encoder.layers.0.", "encoder.blocks.0."),
    ("encoder.layers.2.", "encoder.proj."),
    ("decoder.layers.1.", "decoder.proj."),
    ("decoder.layers.3.", "decoder.blocks.0."),
    ("pre_norm.", "norm_attn."),
    ("ff_norm.", "norm_ff."),
    ("self_attn.", "attn."),
    ("ff.ff.0.proj.", "ff.proj_in."),
    ("ff.ff.2.", "ff.proj_out."),
    ("bottleneck.scaling_factor", "bottleneck.scale"),
)


def renamed(tensors: Mapping[str, LazyTensor], names: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Return tensors under diffusers' names, differential projections in its order."""
    state = {}
    for name, lazy in tensors.items():
        tensor = to_tensor(lazy)
        if name.endswith("self_attn.to_qkv.weight") and tensor.shape[0] == 5 * tensor.shape[1]:
            blocks = tensor.chunk(5)
            tensor = torch.cat([blocks[row] for row in PEER_ROWS])
        for ours, theirs in names:
            name = name.replace(ours, theirs)
        state[name] = tensor
    return state


def load_peer(peer: Any, state: dict[str, Tensor]) -> Any:
    """Load weights strictly into a peer, except for frequencies, which it computes."""
    frequencies = {name: value for name, value in peer.state_dict().items() if name.endswith("freq")}
    peer.load_state_dict(state | frequencies, strict=True)
    return peer.eval()


def peer_dit(checkpoint: Checkpoint, norm_eps: float | None = None) -> Any:
    """Build diffusers' transformer; `norm_eps` replaces the epsilon of its blocks' norms."""
    from diffusers import StableAudio3DiTModel

    config = checkpoint.config.dit  # type: ignore[union-attr]
    names = ("io_channels", "embed_dim", "depth", "num_heads", "cond_token_dim", "global_cond_dim",
             "local_add_cond_dim", "timestep_features_dim", "num_memory_tokens")  # fmt: skip
    peer: Any = StableAudio3DiTModel(
        **{name: getattr(config, name) for name in names},
        ff_mult=config.ff_kwargs.mult,
        use_differential_attention=config.differential,
    )
    state = renamed(checkpoint.component(DIT_PREFIX), DIT_NAMES)
    padding = checkpoint.component(CONDITIONER_PREFIX)["prompt.padding_embedding"]
    load_peer(peer, state | {"prompt_padding_embedding": to_tensor(padding)})
    if norm_eps is not None:
        for block in peer.transformer_blocks:
            for norm in (block.pre_norm, block.cross_attend_norm, block.ff_norm):
                norm.eps = norm_eps
    return peer


def peer_text(encoder: T5GemmaEncoder) -> Any:
    """Build transformers' text encoder with our weights; only its eager attention caps logits."""
    from transformers import T5GemmaConfig, T5GemmaEncoderModel, T5GemmaModuleConfig

    config = encoder.config
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
             "intermediate_size", "vocab_size", "rms_norm_eps", "attn_logit_softcapping")  # fmt: skip
    stack = T5GemmaModuleConfig(
        **{name: getattr(config, name) for name in names}, query_pre_attn_scalar=int(config.query_pre_attn_scalar)
    )
    options: dict[str, Any] = {"is_encoder_decoder": False, "attn_implementation": "eager"}
    whole = T5GemmaConfig(encoder=stack, decoder=stack, **options)
    peer: Any = T5GemmaEncoderModel(whole)
    return load_peer(peer, {f"encoder.{name}": value for name, value in encoder.state_dict().items()})


def peer_same(checkpoint: Checkpoint) -> Any:
    """Build diffusers' autoencoder, with our weights if it is the same network."""
    from diffusers import AutoencoderSAME

    same = checkpoint.config.same
    encoder, decoder = same.encoder.config, same.decoder.config
    peer: Any = AutoencoderSAME(
        audio_channels=same.io_channels,
        patch_size=same.patch_size,
        encoder_channels=encoder.channels,
        encoder_c_mults=encoder.c_mults,
        encoder_strides=encoder.strides,
        encoder_transformer_depths=encoder.transformer_depths,
        latent_dim=same.latent_dim,
        dim_heads=encoder.dim_heads,
        ff_mult=encoder.ff_mult,
        sliding_window=(encoder.sliding_window or (1, 1))[0],
        encoder_sinusoidal_blocks=encoder.sinusoidal_blocks,
        decoder_sinusoidal_blocks=decoder.sinusoidal_blocks,
    )
    if encoder.sliding_window is None:
        return peer.eval()
    return load_peer(peer, renamed(checkpoint.component(SAME_PREFIX), SAME_NAMES))
