"""The smallest recipe that uses every stage, for tests."""

from dataclasses import replace
from pathlib import Path

from soundloom.config.stable_audio.model import ModelConfig, parse_model_config
from soundloom.config.stable_audio.text_encoder import T5GemmaConfig
from soundloom.datasets.synthetic.config import SoundsConfig
from soundloom.training.config import AutoencoderConfig, DiTTrainingConfig, LoopConfig, SpectralConfig

PATCH, STRIDE, LATENT_DIM, WIDTH = 32, 4, 16, 64

HALF = {
    "channels": WIDTH,
    "c_mults": [1],
    "strides": [STRIDE],
    "latent_dim": LATENT_DIM,
    "transformer_depths": [2],
    "dim_heads": 64,
    "ff_mult": 1,
    "chunk_size": 2 * STRIDE,
    "chunk_midpoint_shift": True,
    "latent_shortcut": True,
}
SAME_PARTS = {
    "latent_dim": LATENT_DIM,
    "downsampling_ratio": PATCH * STRIDE,
    "pretransform": {"type": "patched", "config": {"patch_size": PATCH}},
    "bottleneck": {"type": "softnorm", "config": {"dim": LATENT_DIM}},
    "encoder": {"type": "taae_v2", "config": HALF | {"in_channels": 2 * PATCH}},
    "decoder": {"type": "taae_v2", "config": HALF | {"out_channels": 2 * PATCH, "conv_mapping": True}},
}
DIT = {
    "io_channels": LATENT_DIM,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 1,
    "cond_token_dim": 32,
    "global_cond_dim": 32,
    "local_add_cond_dim": LATENT_DIM + 1,
    "num_memory_tokens": 2,
    "ff_kwargs": {"mult": 1.0},
}
CONDITIONERS = [
    {"id": "prompt", "type": "t5gemma", "config": {"max_length": 16, "subfolder": "t5gemma-tiny"}},
    {"id": "seconds_total", "type": "number", "config": {"max_val": 8}},
]
MODEL = {
    "model_type": "diffusion_cond_inpaint",
    "sample_rate": 44100,
    "sample_size": 64 * PATCH * STRIDE,
    "model": {
        "io_channels": LATENT_DIM,
        "pretransform": {"type": "autoencoder", "config": SAME_PARTS},
        "conditioning": {"cond_dim": 32, "configs": CONDITIONERS},
        "diffusion": {"config": DIT, "diffusion_objective": "rf_denoiser"},
    },
}
TEXT = T5GemmaConfig(
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    head_dim=32,
    intermediate_size=32,
    vocab_size=200,
    query_pre_attn_scalar=32,
)
LOOP = LoopConfig(steps=4, learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=2, save_every=2, log_every=2)
SOUNDS = SoundsConfig(clips=4, families=("tone",), scenes=False, reverb=False, seconds=(1.0, 2.0))
AUTOENCODER = AutoencoderConfig(
    loop=LOOP,
    spectral=SpectralConfig(windows=(256, 64), overlap=2),
    clips=4,
    batch_size=2,
    frames=8,
    pca_seconds=0.2,
)
FLOW = DiTTrainingConfig(loop=LOOP, batch_size=4, silence_seconds=0.01)


def model_config() -> ModelConfig:
    config = parse_model_config(MODEL)
    assert isinstance(config, ModelConfig)
    return config


def loop(**changes: object) -> LoopConfig:
    return replace(LOOP, **changes)


def to_toml(data: dict, prefix: str = "") -> str:
    """Format nested dictionaries as TOML."""
    scalars = {key: value for key, value in data.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    text = f"[{prefix}]\n" if prefix else ""
    text += "".join(f"{key} = {_inline(value)}\n" for key, value in scalars.items())
    return text + "".join(to_toml(table, f"{prefix}.{key}" if prefix else key) for key, table in tables.items())


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def write_recipe(folder: Path, configs: dict[str, dict]) -> None:
    folder.mkdir(parents=True)
    for name, data in configs.items():
        (folder / f"{name}.toml").write_text(to_toml(data), encoding="utf-8")


SHORT_LOOP = {"steps": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-4, "warmup_steps": 1, "log_every": 1}
CONFIGS = {
    "model": MODEL,
    "text_encoder": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "intermediate_size": 32,
        "query_pre_attn_scalar": 32,
    },
    "sounds": {"clips": 6, "families": ["tone"], "scenes": False, "reverb": False, "seconds": [1.0, 1.5]},
    "dit_sounds": {"clips": 4, "families": ["bell", "rain"], "scenes": False, "reverb": False, "seconds": [1.0, 2.0]},
    "tokenizer": {"vocabulary_size": 200},
    "autoencoder": {
        "clips": 4,
        "batch_size": 2,
        "frames": 8,
        "pca_seconds": 0.2,
        "loop": SHORT_LOOP,
        "spectral": {"windows": [256, 64], "overlap": 2},
    },
    "dit": {"batch_size": 2, "silence_seconds": 0.01, "loop": SHORT_LOOP},
    "distill": {"batch_size": 2, "teacher_steps": 2, "loop": SHORT_LOOP},
    "text": {"batch_size": 2, "loop": SHORT_LOOP},
    "post": {"batch_size": 2, "text_alignment": 0.1, "head_width": 16, "loop": SHORT_LOOP},
}
