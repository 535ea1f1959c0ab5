"""Infer a configuration from tensor shapes, for layouts without a `model_config.json`.

What shapes do not reveal (attention windows, noise, objective …) comes from `published`, the configuration of the
variant in the file name. Tensors have canonical names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from soundloom.checkpoints.compare import depth
from soundloom.checkpoints.formats.tensors import Tensors
from soundloom.checkpoints.stable_audio.shapes import (
    CONDITIONER_PREFIX,
    DECODER_STACK,
    DIT_PREFIX,
    ENCODER_STACK,
    SAME_PREFIX,
)
from soundloom.config.stable_audio.model import (
    AttentionConfig,
    AutoencoderModelConfig,
    DiTConfig,
    FeedForwardConfig,
    ModelConfig,
)
from soundloom.config.stable_audio.same import ResamplerConfig, SAMEConfig
from soundloom.errors import MismatchError

AnyConfig = ModelConfig | AutoencoderModelConfig


def infer_config(tensors: Tensors, published: AnyConfig) -> AnyConfig:
    """Infer the configuration of a complete checkpoint."""
    if isinstance(published, ModelConfig):
        return infer_model(tensors, published)
    return replace(published, model=infer_same(tensors, published.model))


def infer_dit(tensors: Tensors, published: DiTConfig) -> DiTConfig:
    """Infer the configuration of the diffusion transformer."""
    layer = f"{DIT_PREFIX}transformer.layers.0."
    width, channels = sizes_of(tensors, f"{DIT_PREFIX}transformer.project_in.weight", 2)
    packed, _ = sizes_of(tensors, f"{layer}self_attn.to_qkv.weight", 2)
    _, inner = sizes_of(tensors, f"{layer}ff.ff.2.weight", 2)
    (head_dim,) = sizes_of(tensors, f"{layer}self_attn.q_norm.gamma", 1)
    memory = f"{DIT_PREFIX}transformer.memory_tokens"
    return replace(
        published,
        io_channels=channels,
        embed_dim=width,
        depth=depth(_within(tensors, f"{DIT_PREFIX}transformer.")),
        num_heads=width // head_dim,
        cond_token_dim=sizes_of(tensors, f"{DIT_PREFIX}to_cond_embed.0.weight", 2)[1],
        global_cond_dim=sizes_of(tensors, f"{DIT_PREFIX}to_global_embed.0.weight", 2)[1],
        local_add_cond_dim=sizes_of(tensors, f"{layer}to_local_embed.0.weight", 2)[1],
        timestep_features_dim=sizes_of(tensors, f"{DIT_PREFIX}to_timestep_embed.0.weight", 2)[1],
        num_memory_tokens=sizes_of(tensors, memory, 2)[0] if memory in tensors else 0,
        attn_kwargs=AttentionConfig(differential=packed == 5 * width),
        ff_kwargs=FeedForwardConfig(mult=inner / width),
    )


def infer_encoder(tensors: Tensors, published: ResamplerConfig) -> ResamplerConfig:
    """Infer the configuration of an autoencoder's encoder."""
    _, patch_channels, _ = sizes_of(tensors, f"{SAME_PREFIX}{ENCODER_STACK}mapping.weight_v", 3)
    latent_dim, _ = sizes_of(tensors, f"{SAME_PREFIX}encoder.layers.2.weight", 2)
    return replace(
        _infer_stack(tensors, SAME_PREFIX + ENCODER_STACK, published),
        in_channels=patch_channels,
        latent_dim=latent_dim,
    )


def infer_decoder(tensors: Tensors, published: ResamplerConfig) -> ResamplerConfig:
    """Infer the configuration of an autoencoder's decoder."""
    patch_channels, _, kernel = sizes_of(tensors, f"{SAME_PREFIX}{DECODER_STACK}mapping.weight_v", 3)
    _, latent_dim = sizes_of(tensors, f"{SAME_PREFIX}decoder.layers.1.weight", 2)
    stack = _infer_stack(tensors, SAME_PREFIX + DECODER_STACK, published)
    return replace(stack, out_channels=patch_channels, latent_dim=latent_dim, conv_mapping=kernel == 3)


def _infer_stack(tensors: Tensors, stack: str, published: ResamplerConfig) -> ResamplerConfig:
    *_, width = sizes_of(tensors, f"{stack}new_tokens", 3)
    blocks = depth(_within(tensors, stack + "transformers."))
    _, inner = sizes_of(tensors, f"{stack}transformers.0.ff.ff.2.weight", 2)
    (head_dim,) = sizes_of(tensors, f"{stack}transformers.0.self_attn.q_norm.gamma", 1)
    sizes: dict[str, Any] = {} if width == published.width else {"channels": width, "c_mults": (1,)}
    if blocks != published.transformer_depths[0]:
        sizes["sinusoidal_blocks"] = (min(published.sinusoidal_blocks[0], blocks),)
    return replace(
        published,
        **sizes,
        transformer_depths=(blocks,),
        dim_heads=head_dim,
        ff_mult=inner / width,
        latent_shortcut=f"{stack}shortcut.weight" in tensors,
    )


def infer_same(tensors: Tensors, published: SAMEConfig) -> SAMEConfig:
    """Infer the configuration of an autoencoder."""
    encoder = infer_encoder(tensors, published.encoder.config)
    decoder = infer_decoder(tensors, published.decoder.config)
    patch = replace(published.pretransform.config, patch_size=encoder.in_channels // published.io_channels)
    return replace(
        published,
        encoder=replace(published.encoder, config=encoder),
        decoder=replace(published.decoder, config=decoder),
        pretransform=replace(published.pretransform, config=patch),
        bottleneck=replace(published.bottleneck, config=replace(published.bottleneck.config, dim=encoder.latent_dim)),
        latent_dim=encoder.latent_dim,
        downsampling_ratio=encoder.stride * patch.patch_size,
    )


def infer_model(tensors: Tensors, published: ModelConfig) -> ModelConfig:
    """Infer the configuration of a generative model."""
    dit, same = infer_dit(tensors, published.dit), infer_same(tensors, published.same)
    (cond_dim,) = sizes_of(tensors, f"{CONDITIONER_PREFIX}prompt.padding_embedding", 1)
    model = published.model
    return replace(
        published,
        model=replace(
            model,
            pretransform=replace(model.pretransform, config=same),
            conditioning=replace(model.conditioning, cond_dim=cond_dim),
            diffusion=replace(model.diffusion, config=dit),
            io_channels=dit.io_channels,
        ),
    )


def sizes_of(tensors: Tensors, name: str, axes: int) -> tuple[int, ...]:
    """Return the shape of a tensor that determines sizes. Raises MismatchError if it is missing or has other axes."""
    if name not in tensors:
        raise MismatchError(f"the sizes of the model are unknown: tensor {name} is missing")
    shape = tensors[name].shape
    if len(shape) != axes or not all(shape):
        raise MismatchError(f"the sizes of the model are unknown: tensor {name} has the shape {list(shape)}")
    return shape


def _within(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]
