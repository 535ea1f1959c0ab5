"""Which tensors MusicGen and Instruct-MusicGen call for: canonical names and shapes, worked out from the sizes alone.

A whole checkpoint has four components with a prefix each. The text encoder and the codec are named as in transformers,
the codec's weight norms folded into one `weight`. The language model is named as in audiocraft, except that the fused
self-attention matrix is a linear layer (`in_proj.weight`, rows q, k, v), that cross-attention has a layer for each of
q, k and v, and that the text projection is `output_proj`. The adapter is named as in its own checkpoint, its LoRA
merged into the language model.
"""

from __future__ import annotations

from soundloom.checkpoints.shapes import Shapes
from soundloom.config.musicgen import EncodecConfig, InstructConfig, LMConfig, MusicGenConfig, T5Config

T5_PREFIX, ENCODEC_PREFIX, LM_PREFIX, ADAPTER_PREFIX = "t5.", "encodec.", "lm.", "cp_transformer."
GATES = 4  # of an LSTM, one above the other in each of its matrices


def musicgen_shapes(config: MusicGenConfig) -> Shapes:
    """Everything in a checkpoint, with the prefixes of its components."""
    parts = {
        T5_PREFIX: t5_shapes(config.t5),
        ENCODEC_PREFIX: encodec_shapes(config.encodec),
        LM_PREFIX: lm_shapes(config.lm),
        ADAPTER_PREFIX: adapter_shapes(config.lm, config.instruct) if config.instruct else {},
    }
    return {prefix + name: shape for prefix, shapes in parts.items() for name, shape in shapes.items()}


def t5_shapes(config: T5Config) -> Shapes:
    """The text encoder, without prefix. Only the first block holds the table of relative positions."""
    d = config.d_model
    layer: Shapes = {f"layer.0.SelfAttention.{part}.weight": (config.inner, d) for part in "qkv"}
    layer |= {
        "layer.0.SelfAttention.o.weight": (d, config.inner),
        "layer.0.layer_norm.weight": (d,),
        "layer.1.DenseReluDense.wi.weight": (config.d_ff, d),
        "layer.1.DenseReluDense.wo.weight": (d, config.d_ff),
        "layer.1.layer_norm.weight": (d,),
    }
    table = (config.relative_attention_num_buckets, config.num_heads)
    shapes: Shapes = {
        "shared.weight": (config.vocab_size, d),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": table,
        "encoder.final_layer_norm.weight": (d,),
    }
    for block in range(config.num_layers):
        shapes |= {f"encoder.block.{block}.{name}": shape for name, shape in layer.items()}
    return shapes


def encodec_shapes(config: EncodecConfig) -> Shapes:
    """The codec, without prefix: each half a list of layers in which activations count but hold nothing."""
    shapes: Shapes = {}
    for index, (kind, channels, out, kernel) in enumerate(encoder_layers(config)):
        shapes |= _codec_layer(f"encoder.layers.{index}", kind, channels, out, kernel, config)
    for index, (kind, channels, out, kernel) in enumerate(decoder_layers(config)):
        shapes |= _codec_layer(f"decoder.layers.{index}", kind, channels, out, kernel, config)
    for stage in range(config.num_quantizers):
        shapes[f"quantizer.layers.{stage}.codebook.embed"] = (config.codebook_size, config.hidden_size)
    return shapes


Plan = list[tuple[str, int, int, int]]  # kind of layer, channels in and out, kernel or (for a residual unit) dilation


def encoder_layers(config: EncodecConfig) -> Plan:
    """The encoder's layers in order. A convolution whose kernel is even has half of it as stride."""
    width = config.num_filters
    plan: Plan = [("conv", config.audio_channels, width, config.kernel_size)]
    for ratio in reversed(config.upsampling_ratios):
        plan += [("residual", width, width, dilation) for dilation in _dilations(config)]
        plan += [("elu", width, width, 0), ("down", width, 2 * width, 2 * ratio)]
        width *= 2
    plan += [("lstm", width, width, 0), ("elu", width, width, 0)]
    return [*plan, ("conv", width, config.hidden_size, config.last_kernel_size)]


def decoder_layers(config: EncodecConfig) -> Plan:
    """The decoder's layers in order."""
    width = config.deepest
    plan: Plan = [("conv", config.hidden_size, width, config.kernel_size), ("lstm", width, width, 0)]
    for ratio in config.upsampling_ratios:
        plan += [("elu", width, width, 0), ("up", width, width // 2, 2 * ratio)]
        width //= 2
        plan += [("residual", width, width, dilation) for dilation in _dilations(config)]
    return [*plan, ("elu", width, width, 0), ("conv", width, config.audio_channels, config.last_kernel_size)]


def _dilations(config: EncodecConfig) -> list[int]:
    return [config.dilation_growth_rate**unit for unit in range(config.num_residual_layers)]


def _codec_layer(name: str, kind: str, channels: int, out: int, kernel: int, config: EncodecConfig) -> Shapes:
    if kind == "elu":
        return {}
    if kind == "residual":
        hidden = channels // config.compress
        return {
            **_conv(f"{name}.block.1.conv", channels, hidden, config.residual_kernel_size),
            **_conv(f"{name}.block.3.conv", hidden, channels, 1),
        }
    if kind == "lstm":
        shapes: Shapes = {}
        for layer in range(config.num_lstm_layers):
            for source in ("ih", "hh"):
                shapes[f"{name}.lstm.weight_{source}_l{layer}"] = (GATES * channels, channels)
                shapes[f"{name}.lstm.bias_{source}_l{layer}"] = (GATES * channels,)
        return shapes
    if kind == "up":
        return {f"{name}.conv.weight": (channels, out, kernel), f"{name}.conv.bias": (out,)}
    return _conv(f"{name}.conv", channels, out, kernel)


def _conv(name: str, channels: int, out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (out, channels, kernel), f"{name}.bias": (out,)}


def lm_shapes(config: LMConfig) -> Shapes:
    """The language model, without prefix."""
    d = config.hidden_size
    layer: Shapes = {
        "self_attn.in_proj.weight": (3 * d, d),
        "self_attn.out_proj.weight": (d, d),
        **{f"cross_attention.{part}_proj.weight": (d, d) for part in ("q", "k", "v", "out")},
        "linear1.weight": (config.ffn_dim, d),
        "linear2.weight": (d, config.ffn_dim),
        **_norms("norm1", "norm_cross", "norm2", width=d),
    }
    shapes: Shapes = {f"emb.{k}.weight": (config.vocab_size + 1, d) for k in range(config.num_codebooks)}
    shapes |= {"output_proj.weight": (d, config.text_width), "output_proj.bias": (d,)}
    for index in range(config.num_hidden_layers):
        shapes |= {f"transformer.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes |= _norms("out_norm", width=d)
    return shapes | {f"linears.{k}.weight": (config.vocab_size, d) for k in range(config.num_codebooks)}


def _norms(*names: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for name in names for part in ("weight", "bias")}


def adapter_shapes(lm: LMConfig, config: InstructConfig) -> Shapes:
    """The adapter without prefix and without its LoRA, which is merged into the language model."""
    d, layers = lm.hidden_size, lm.num_hidden_layers
    shapes: Shapes = {"pos_emb": (layers + 1, config.rows, d), "gates": (layers,)}
    return shapes | {f"merge_linear.{index}.weight": (d, d) for index in range(layers)}
