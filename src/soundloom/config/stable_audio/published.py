"""Build the published `model_config.json` files from the few values in which the models differ.

Source: the configurations in the Stable Audio 3 repositories.
"""

from __future__ import annotations

from typing import Any, Literal

TEXT_ENCODER_FOLDER = "t5gemma-b-b-ul2"
SAMPLE_RATE = 44100
_PATCH_CHANNELS = 512  # 2 channels of 256 samples


def _same_half(wide: bool, side: Literal["encoder", "decoder"]) -> dict[str, Any]:
    """Return the encoder or decoder of SAME-L (`wide`) or SAME-S."""
    config: dict[str, Any] = {
        "in_channels" if side == "encoder" else "out_channels": _PATCH_CHANNELS,
        "channels": 256 if wide else 128,
        "c_mults": [6],
        "strides": [16],
        "latent_dim": 256,
        "transformer_depths": [12 if wide else 6],
        "dim_heads": 64,
        "differential": True,
        "variable_stride": True,
    }
    if wide:
        config |= {"sliding_window": [1, 1], "mask_noise": 0.001 if side == "encoder" else 0.1}
        config |= {"sinusoidal_blocks": [8]} if side == "decoder" else {}
    else:
        config |= {"chunk_size": 32, "chunk_midpoint_shift": True, "dyt": True}
        config |= {"conv_mapping": side == "decoder", "mask_noise": 0.0 if side == "encoder" else 0.01}
    return {"type": "taae_v2", "config": config}


def _same_config(wide: bool) -> dict[str, Any]:
    bottleneck = {
        "dim": 256,
        "auto_scale": True,
        "freeze": True,
        "noise_augment_dim": 0,
        "noise_regularize": True,
    }
    return {
        "encoder": _same_half(wide, "encoder"),
        "decoder": _same_half(wide, "decoder"),
        "bottleneck": {"type": "softnorm", "config": bottleneck},
        "pretransform": {"type": "patched", "config": {"channels": 2, "patch_size": 256}},
        "latent_dim": 256,
        "downsampling_ratio": 4096,
        "io_channels": 2,
    }


def autoencoder_config(wide: bool) -> dict[str, Any]:
    """Return the configuration of SAME-L (`wide`) or SAME-S."""
    return {
        "model_type": "autoencoder",
        "sample_rate": SAMPLE_RATE,
        "audio_channels": 2,
        "model": _same_config(wide),
    }


def _dit_config(width: int, depth: int, differential: bool) -> dict[str, Any]:
    return {
        "io_channels": 256,
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // 64,
        "cond_token_dim": 768,
        "global_cond_dim": 768,
        "local_add_cond_dim": 257,
        "project_cond_tokens": True,
        "project_global_cond": True,
        "transformer_type": "continuous_transformer",
        "global_cond_type": "adaLN",
        "num_memory_tokens": 64,
        "norm_type": "rms_norm",
        "norm_kwargs": {"force_fp32": True},
        "attn_kwargs": {"qk_norm": "rms", "differential": differential},
        "ff_kwargs": {"mult": 4.0},
        "timestep_features_type": "expo",
    }


def _conditioning_config(text_repo: str) -> dict[str, Any]:
    prompt = {
        "max_length": 256,
        "padding_mode": "learned",
        "repo_id": text_repo,
        "subfolder": TEXT_ENCODER_FOLDER,
    }
    seconds = {"min_val": 0, "max_val": 384, "fourier_features_type": "expo"}
    return {
        "cond_dim": 768,
        "configs": [
            {"id": "prompt", "type": "t5gemma", "config": prompt},
            {"id": "seconds_total", "type": "number", "config": seconds},
        ],
    }


def generator_config(
    text_repo: str, sample_size: int, dit: dict[str, Any], wide_autoencoder: bool, distilled: bool
) -> dict[str, Any]:
    """Return the configuration of a generative model with the transformer `dit`; `text_repo` has its text encoder."""
    diffusion = {
        "type": "dit",
        "cross_attention_cond_ids": ["prompt", "seconds_total"],
        "global_cond_ids": ["seconds_total"],
        "local_add_cond_ids": ["inpaint_mask", "inpaint_masked_input"],
        "diffusion_objective": "rf_denoiser" if distilled else "rectified_flow",
        "mask_padding_attention": True,
        "use_effective_length_for_schedule": True,
        "distribution_shift_options": {"type": "full", "min_length": 256, "max_length": 4096},
        "config": dit,
    }
    autoencoder = {
        "type": "autoencoder",
        "chunked": True,
        "iterate_batch": False,
        "config": _same_config(wide_autoencoder),
    }
    demo = {"demo_steps": 8 if distilled else 50, "demo_cfg_scales": [1] if distilled else [2, 4, 7]}
    return {
        "model_type": "diffusion_cond_inpaint",
        "sample_size": sample_size,
        "sample_rate": SAMPLE_RATE,
        "audio_channels": 2,
        "model": {
            "pretransform": autoencoder,
            "conditioning": _conditioning_config(text_repo),
            "diffusion": diffusion,
            "io_channels": 256,
        },
        "training": {"demo": demo},
    }


SMALL = _dit_config(width=1024, depth=20, differential=False)
MEDIUM = _dit_config(width=1536, depth=24, differential=True)
# The sizes of large are not published; these give its announced 2.7 billion parameters in the family's proportions.
LARGE_ESTIMATE = _dit_config(width=2048, depth=26, differential=True)
