"""The configuration of the T5Gemma text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from soundloom.config.parse import parse
from soundloom.config.ranges import MAX_WIDTH, Depth, Epsilon, Heads, TokenId, Vocabulary, Width, Within, check_ranges
from soundloom.errors import ConfigError, shown


@dataclass(frozen=True)
class T5GemmaConfig:
    """The encoder of a T5Gemma checkpoint. Field names are those of its `config.json`."""

    hidden_size: Width = 768
    num_hidden_layers: Depth = 12
    num_attention_heads: Heads = 12
    num_key_value_heads: Heads = 12
    head_dim: Annotated[int, Within(2, MAX_WIDTH)] = 64
    intermediate_size: Width = 2048
    vocab_size: Vocabulary = 256000
    max_position_embeddings: Annotated[int, Within(1, 1 << 30)] = 8192
    rope_theta: Annotated[float, Within(1, 1e12)] = 10000.0
    rms_norm_eps: Epsilon = 1e-6
    attn_logit_softcapping: Annotated[float, Within(1e-3, 1e9)] | None = 50.0
    query_pre_attn_scalar: Annotated[float, Within(1e-3, 1e9)] = 64
    pad_token_id: TokenId = 0

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"the {self.num_attention_heads} attention heads of the text encoder must be a multiple of its "
                f"{self.num_key_value_heads} key-value heads"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim {self.head_dim} of the text encoder must be even")
        if self.pad_token_id >= self.vocab_size:
            raise ConfigError(f"pad_token_id {self.pad_token_id} exceeds the vocabulary of {self.vocab_size} tokens")


def parse_text_encoder_config(data: Mapping[str, Any]) -> T5GemmaConfig:
    """Parse the encoder's fields of a T5Gemma `config.json`, or of the flat META of an npz file.

    Such files have many unrelated fields, which are ignored, except those that change the computation.
    """
    if not isinstance(data, Mapping) or not isinstance(encoder := data.get("encoder", data), Mapping):
        raise ConfigError("the configuration of the text encoder must be an object")
    for name, wanted in (("hidden_activation", "gelu_pytorch_tanh"), ("attention_bias", False)):
        if encoder.get(name, wanted) != wanted:
            raise ConfigError(f"the text encoder's {name} is {shown(encoder[name])}, only {wanted!r} is supported")
    rope = encoder.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        raise ConfigError(f"the text encoder's rope_parameters must be an object, found {type(rope).__name__}")
    known = {name: encoder[name] for name in T5GemmaConfig.__dataclass_fields__ if name in encoder}
    if "rope_theta" in rope:
        known["rope_theta"] = rope["rope_theta"]
    return parse(T5GemmaConfig, known, "text encoder")
