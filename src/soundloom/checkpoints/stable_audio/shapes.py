"""Canonical names and shapes of all tensors of Stable Audio models for a configuration.

Canonical names are those of the published full checkpoints; functions for components return them without prefix.
Letters: `d` width, `c` latent channels. Source: the files of the Stable Audio 3 repositories.
"""

from __future__ import annotations

import math

from soundloom.config.stable_audio.model import AutoencoderModelConfig, DiTConfig, ModelConfig
from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig

Shapes = dict[str, tuple[int, ...]]

DIT_PREFIX = "model.model."
SAME_PREFIX = "pretransform.model."
CONDITIONER_PREFIX = "conditioner.conditioners."
ENCODER_STACK, DECODER_STACK = "encoder.layers.0.", "decoder.layers.3."  # transformers of a SAME autoencoder

# Fourier features of the number conditioner, which no configuration field sets.
NUMBER_FEATURES = 256
_ROTARY_FREQUENCIES = 16  # half of the 32 rotated channels of a head


def shape_bytes(shapes: Shapes) -> int:
    """Return the size in bytes of tensors of these shapes in float32."""
    return sum(4 * math.prod(shape) for shape in shapes.values())


def is_ignorable(name: str) -> bool:
    """Whether a tensor is optional: recomputed tables, an empty buffer, and components that never run."""
    recomputed, never_run = (".inv_freq", "noise_scaling_factor"), ("model.decoder.", "lm_head.")
    return name.endswith(recomputed) or name.startswith(never_run)


def model_shapes(config: ModelConfig | AutoencoderModelConfig) -> Shapes:
    """Return all tensors of a checkpoint except its text encoder, with component prefixes."""
    shapes = _prefixed(SAME_PREFIX, same_shapes(config.same))
    if isinstance(config, ModelConfig):
        conditioner = conditioner_shapes(config.model.conditioning.cond_dim)
        shapes |= _prefixed(DIT_PREFIX, dit_shapes(config.dit)) | _prefixed(CONDITIONER_PREFIX, conditioner)
    return shapes


def ignorable_shapes(config: ModelConfig | AutoencoderModelConfig) -> Shapes:
    """Return the optional tensors of published files."""
    same = config.same
    shapes: Shapes = {"bottleneck.noise_scaling_factor": (1, 0, 1)}
    for stack, half in ((ENCODER_STACK, same.encoder.config), (DECODER_STACK, same.decoder.config)):
        for block in range(half.depth):
            shapes[f"{stack}transformers.{block}.rope.inv_freq"] = (_ROTARY_FREQUENCIES,)
    shapes = _prefixed(SAME_PREFIX, shapes)
    if isinstance(config, ModelConfig):
        shapes[f"{DIT_PREFIX}transformer.rotary_pos_emb.inv_freq"] = (_ROTARY_FREQUENCIES,)
    return shapes


def dit_shapes(config: DiTConfig) -> Shapes:
    """Return the tensors of the diffusion transformer."""
    d, c = config.embed_dim, config.io_channels
    shapes: Shapes = {
        "preprocess_conv.weight": (c, c, 1),
        "postprocess_conv.weight": (c, c, 1),
        "transformer.project_in.weight": (d, c),
        "transformer.project_out.weight": (c, d),
        **_mlp("to_cond_embed", config.cond_token_dim, d, d, bias=False),
        **_mlp("to_global_embed", config.global_cond_dim, d, d, bias=False),
        **_mlp("to_timestep_embed", config.timestep_features_dim, d, d),
        **_mlp("transformer.global_cond_embedder", d, d, 6 * d),
    }
    if config.num_memory_tokens:
        shapes["transformer.memory_tokens"] = (config.num_memory_tokens, d)
    for layer in range(config.depth):
        shapes |= _prefixed(f"transformer.layers.{layer}.", _dit_layer(config))
    return shapes


def _dit_layer(config: DiTConfig) -> Shapes:
    d = config.embed_dim
    qkv, q, kv = (5, 2, 3) if config.differential else (3, 1, 2)  # projections fused into one matrix
    shapes: Shapes = {f"{norm}.gamma": (d,) for norm in ("pre_norm", "cross_attend_norm", "ff_norm")}
    for attention in ("self_attn", "cross_attn"):
        shapes[f"{attention}.to_out.weight"] = (d, d)
        shapes |= {f"{attention}.{norm}.gamma": (config.head_dim,) for norm in ("q_norm", "k_norm")}
    return shapes | {
        "self_attn.to_qkv.weight": (qkv * d, d),
        "cross_attn.to_q.weight": (q * d, d),
        "cross_attn.to_kv.weight": (kv * d, d),
        "to_scale_shift_gate": (6 * d,),
        **_mlp("to_local_embed", config.local_add_cond_dim, d, d),
        **_gated_feed_forward(d, config.ff_inner),
    }


def conditioner_shapes(cond_dim: int) -> Shapes:
    """Return the tensors of the conditioner: learned prompt padding and the embedding of `seconds_total`."""
    return {
        "prompt.padding_embedding": (cond_dim,),
        **_linear("seconds_total.embedder.embedding.1", NUMBER_FEATURES, cond_dim),
    }


def same_shapes(config: SAMEConfig) -> Shapes:
    """Return the tensors of a SAME autoencoder."""
    c, encoder, decoder = config.latent_dim, config.encoder.config, config.decoder.config
    kernel = 3 if decoder.conv_mapping else 1
    return {
        **_prefixed(ENCODER_STACK, resampler_shapes(encoder, encoder.width, encoder.patch_channels, kernel=1)),
        **_linear("encoder.layers.2", encoder.width, c),
        **_linear("decoder.layers.1", c, decoder.width),
        **_prefixed(DECODER_STACK, resampler_shapes(decoder, decoder.patch_channels, decoder.width, kernel)),
        "bottleneck.scaling_factor": (1, c, 1),
        "bottleneck.bias": (1, c, 1),
        "bottleneck.running_std": (1,),
    }


def resampler_shapes(config: ResamplerConfig, mapping_out: int, mapping_in: int, kernel: int) -> Shapes:
    """Return the tensors of the encoder's or decoder's transformer and its weight-normed convolution."""
    d = config.width
    shapes: Shapes = {
        "mapping.weight_v": (mapping_out, mapping_in, kernel),
        "mapping.weight_g": (mapping_out, 1, 1),
        "mapping.bias": (mapping_out,),
        "new_tokens": (1, 1, d),
    }
    if config.latent_shortcut:
        into_latent = config.in_channels > 0
        shapes["shortcut.weight"] = (d, config.stride * d) if into_latent else (config.stride * d, d)
    for block in range(config.depth):
        shapes |= _prefixed(f"transformers.{block}.", _same_block(config))
    return shapes


def _same_block(config: ResamplerConfig) -> Shapes:
    d = config.width
    head = config.dim_heads
    norms = {"pre_norm": d, "ff_norm": d, "self_attn.q_norm": head, "self_attn.k_norm": head}
    shapes: Shapes = {"self_attn.to_qkv.weight": (5 * d, d), "self_attn.to_out.weight": (d, d)}
    for norm, size in norms.items():
        shapes |= {f"{norm}.alpha": (1,), f"{norm}.gamma": (size,), f"{norm}.beta": (size,)}
    return shapes | _gated_feed_forward(d, config.ff_inner)


def t5gemma_shapes(config: T5GemmaConfig) -> Shapes:
    """Return the tensors of the text encoder, with the names of its own file."""
    d, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer: Shapes = {
        "self_attn.q_proj.weight": (queries, d),
        "self_attn.k_proj.weight": (keys, d),
        "self_attn.v_proj.weight": (keys, d),
        "self_attn.o_proj.weight": (d, queries),
        "mlp.gate_proj.weight": (inner, d),
        "mlp.up_proj.weight": (inner, d),
        "mlp.down_proj.weight": (d, inner),
    }
    for side in ("pre", "post"):
        layer |= {f"{side}_{part}_layernorm.weight": (d,) for part in ("self_attn", "feedforward")}
    shapes: Shapes = {"embed_tokens.weight": (config.vocab_size, d), "norm.weight": (d,)}
    for index in range(config.num_hidden_layers):
        shapes |= _prefixed(f"layers.{index}.", layer)
    return _prefixed("model.encoder.", shapes)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _mlp(name: str, inputs: int, hidden: int, outputs: int, bias: bool = True) -> Shapes:
    """Return the tensors of two linear layers, 0 and 2; layer 1 is the activation."""
    shapes = _linear(f"{name}.0", inputs, hidden) | _linear(f"{name}.2", hidden, outputs)
    return {key: shape for key, shape in shapes.items() if bias or key.endswith(".weight")}


def _gated_feed_forward(width: int, inner: int) -> Shapes:
    return _linear("ff.ff.0.proj", width, 2 * inner) | _linear("ff.ff.2", inner, width)


def _prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}
