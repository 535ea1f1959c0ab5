"""Canonical names and shapes of all tensors of MusicGen and Instruct-MusicGen for a configuration.

A checkpoint has four components, each with a prefix. The text encoder and the codec have the names of transformers,
with the codec's weight norms folded into `weight`. The language model has the names of audiocraft, except that the
fused self-attention matrix is a linear layer (`in_proj.weight`, rows q, k, v), that cross-attention has separate q, k
and v layers, and that the text projection is `output_proj`. The adapter has the names of its own checkpoint, with its
LoRA merged into the language model.
"""

from __future__ import annotations

from soundloom.checkpoints.stable_audio.shapes import Shapes
from soundloom.config.musicgen.encodec import CodecLayer, EncodecConfig
from soundloom.config.musicgen.model import InstructConfig, LMConfig, MusicGenConfig, T5Config

T5_PREFIX, ENCODEC_PREFIX, LM_PREFIX, ADAPTER_PREFIX = "t5.", "encodec.", "lm.", "cp_transformer."
GATES = 4  # of an LSTM, stacked in each of its matrices


def musicgen_shapes(config: MusicGenConfig) -> Shapes:
    """Return all tensors of a checkpoint, with component prefixes."""
    parts = {
        T5_PREFIX: t5_shapes(config.t5),
        ENCODEC_PREFIX: encodec_shapes(config.encodec),
        LM_PREFIX: lm_shapes(config.lm),
        ADAPTER_PREFIX: adapter_shapes(config.lm, config.instruct) if config.instruct else {},
    }
    return {prefix + name: shape for prefix, shapes in parts.items() for name, shape in shapes.items()}


def t5_shapes(config: T5Config) -> Shapes:
    """Return the tensors of the text encoder. Only the first block has a relative position table."""
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
    """Return the tensors of the codec."""
    shapes: Shapes = {}
    for half, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for index, layer in enumerate(layers):
            shapes |= _codec_layer(f"{half}.layers.{index}", layer, config)
    for stage in range(config.num_quantizers):
        shapes[f"quantizer.layers.{stage}.codebook.embed"] = (config.codebook_size, config.hidden_size)
    return shapes


def _codec_layer(name: str, layer: CodecLayer, config: EncodecConfig) -> Shapes:
    if layer.kind == "conv":
        return {f"{name}.conv.weight": (layer.out, layer.channels, layer.kernel), f"{name}.conv.bias": (layer.out,)}
    if layer.kind == "transposed":
        return {f"{name}.conv.weight": (layer.channels, layer.out, layer.kernel), f"{name}.conv.bias": (layer.out,)}
    shapes: Shapes = {}
    if layer.kind == "residual":
        for index, convolution in zip((1, 3), layer.convolutions, strict=True):
            shapes |= _codec_layer(f"{name}.block.{index}", convolution, config)
    if layer.kind == "lstm":
        rows = GATES * layer.out
        for depth in range(config.num_lstm_layers):
            for source in ("ih", "hh"):
                shapes[f"{name}.lstm.weight_{source}_l{depth}"] = (rows, layer.channels)
                shapes[f"{name}.lstm.bias_{source}_l{depth}"] = (rows,)
    return shapes


def lm_shapes(config: LMConfig) -> Shapes:
    """Return the tensors of the language model."""
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
    """Return the tensors of the adapter, without LoRA, which is merged into the language model."""
    d, layers = lm.hidden_size, lm.num_hidden_layers
    shapes: Shapes = {"pos_emb": (layers + 1, config.rows, d), "gates": (layers,)}
    return shapes | {f"merge_linear.{index}.weight": (d, d) for index in range(layers)}
