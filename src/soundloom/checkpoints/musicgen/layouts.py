"""Map tensor names between the published layouts of MusicGen and Instruct-MusicGen and the canonical names.

Besides tables, there are functions for fused projections, weight norms and the adapter's LoRA. Canonical names are
those of `musicgen_shapes`, here without prefixes.
Source: facebook/musicgen-*, facebook/encodec_32khz, ldzhangyx/instruct-MusicGen and their loaders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from soundloom.checkpoints.formats.rows import join_rows, take_rows
from soundloom.checkpoints.formats.tensors import Array, LazyTensor, Tensors
from soundloom.checkpoints.stable_audio.layouts import Layout, Row, fold_weight_norm
from soundloom.errors import MismatchError

PROJECTIONS = ("q", "k", "v")  # the order of their rows in a fused matrix
_LAYER = "transformer.layers.*."
_WRAPPED = "model.peft_model.lm."  # the language model in the adapter's checkpoint
_ADAPTED = f"{_WRAPPED}transformer.base_model.model."  # its transformer, with LoRA

LM_AUDIOCRAFT = Layout(
    (
        Row("output_proj.*", "condition_provider.conditioners.description.output_proj.*"),
        Row("*.in_proj.weight", "*.in_proj_weight"),
        Row("*", "*"),
    )
)

_DECODER = "decoder.model.decoder."
LM_TRANSFORMERS = Layout(
    (
        Row("emb.*", f"{_DECODER}embed_tokens.*"),
        Row(f"{_LAYER}self_attn.*", f"{_DECODER}layers.*.self_attn.*"),
        Row(f"{_LAYER}cross_attention.*", f"{_DECODER}layers.*.encoder_attn.*"),
        Row(f"{_LAYER}norm1.*", f"{_DECODER}layers.*.self_attn_layer_norm.*"),
        Row(f"{_LAYER}norm_cross.*", f"{_DECODER}layers.*.encoder_attn_layer_norm.*"),
        Row(f"{_LAYER}norm2.*", f"{_DECODER}layers.*.final_layer_norm.*"),
        Row(f"{_LAYER}linear1.*", f"{_DECODER}layers.*.fc1.*"),
        Row(f"{_LAYER}linear2.*", f"{_DECODER}layers.*.fc2.*"),
        Row("out_norm.*", f"{_DECODER}layer_norm.*"),
        Row("linears.*", "decoder.lm_heads.*"),
        Row("output_proj.*", "enc_to_dec_proj.*"),
    ),
    optional=(f"{_DECODER}embed_positions.weights",),
)

# The adapter's training checkpoint. It holds the language model with its own cross-attention, the adapter, copies of
# the same layers, unused projections, and the state of metrics.
LIGHTNING = Layout(
    (
        Row("cp_transformer.*", "model.cp_transformer.*"),
        Row("transformer.*.lora_A.weight", f"{_ADAPTED}*.lora_A.default.weight"),
        Row("transformer.*.lora_B.weight", f"{_ADAPTED}*.lora_B.default.weight"),
        Row("transformer.*.cross_attention.q_proj.weight", f"{_ADAPTED}*.cross_attention.q_proj.base_layer.weight"),
        Row("transformer.*.cross_attention.v_proj.weight", f"{_ADAPTED}*.cross_attention.v_proj.base_layer.weight"),
        Row("transformer.*.in_proj.weight", f"{_ADAPTED}*.in_proj_weight"),
        Row("transformer.*", f"{_ADAPTED}*"),
        Row("output_proj.*", f"{_WRAPPED}condition_provider.conditioners.description.output_proj.*"),
        Row("*", f"{_WRAPPED}*"),
    ),
    optional=(
        "model.cp_transformer.layers.*",
        "*.cross_attention.in_proj_weight",
        *(f"*.self_attn.{part}_proj.weight" for part in PROJECTIONS),
        *(f"{when}_{what}" for when in ("train", "val", "test") for what in ("loss*", "acc*")),
    ),
)

# The names in the MLX bundle are not published. These are the ones of its author's other bundles, transformers and
# audiocraft.
LM_BUNDLE = Layout(
    (
        Row(f"{_LAYER}cross_attention.*", "layers.*.cross_attn.*"),
        Row(f"{_LAYER}*", "layers.*.*"),
        Row("output_proj.*", "text_conditioner.output_proj.*"),
        *LM_TRANSFORMERS.rows,
        *LM_AUDIOCRAFT.rows,
    ),
    optional=LM_TRANSFORMERS.optional,
)

# Training buffers that the codec's files hold for each codebook.
_CODEBOOK_STATE = tuple(f"*codebook.{name}" for name in ("inited", "cluster_size", "embed_avg"))
CODEC_TRANSFORMERS = Layout(
    (
        Row("*.weight_g", "*.parametrizations.weight.original0"),
        Row("*.weight_v", "*.parametrizations.weight.original1"),
        Row("*", "*"),
    ),
    optional=_CODEBOOK_STATE,
)


CODEC_AUDIOCRAFT = Layout(
    (
        Row("*.layers.*.conv.*", "*.model.*.conv.conv.*"),
        Row("*.layers.*.conv.*", "*.model.*.convtr.convtr.*"),
        Row("*.layers.*.lstm.*", "*.model.*.lstm.*"),
        Row("quantizer.layers.*.codebook.embed", "quantizer.vq.layers.*._codebook.embed"),
    ),
    optional=_CODEBOOK_STATE,
)


# Attention


def canonical_attention(tensors: Tensors) -> Tensors:
    """Fuse the projections of self-attention into one matrix, and split those of cross-attention."""
    return split_projections(join_projections(tensors, "self_attn"), "cross_attention")


def join_projections(tensors: Tensors, attention: str) -> Tensors:
    """Fuse separate q, k and v projections of each layer into one matrix."""
    result = dict(tensors)
    for base in _bases(tensors, f".{attention}.q_proj.weight"):
        names = [f"{base}.{attention}.{part}_proj.weight" for part in PROJECTIONS]
        if all(name in result for name in names):
            fused = f"{base}.{attention}.in_proj.weight"
            result[fused] = join_rows([result.pop(name) for name in names], fused)
    return result


def split_projections(tensors: Tensors, attention: str) -> Tensors:
    """Split a fused matrix of each layer into q, k and v projections."""
    result = dict(tensors)
    for base in _bases(tensors, f".{attention}.in_proj.weight"):
        fused = result.pop(f"{base}.{attention}.in_proj.weight")
        if len(fused.shape) != 2:
            raise MismatchError(f"{fused.name} has the shape {list(fused.shape)} and is not a matrix")
        rows = fused.shape[0] // len(PROJECTIONS)
        for index, part in enumerate(PROJECTIONS):
            name = f"{base}.{attention}.{part}_proj.weight"
            result[name] = take_rows(fused, index * rows, (index + 1) * rows, name)
    return result


def _bases(names: Iterable[str], ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def merge_lora(tensors: Tensors, alpha: float) -> Tensors:
    """Add the product of each pair `X.lora_A`, `X.lora_B`, scaled by alpha over its rank, to `X.weight` in float32."""
    result = dict(tensors)
    for base in _bases(tensors, ".lora_A.weight"):
        down, up = result.pop(f"{base}.lora_A.weight"), result.pop(f"{base}.lora_B.weight", None)
        weight = result.get(f"{base}.weight")
        if up is None or weight is None or not _is_lora(weight.shape, down.shape, up.shape):
            result[down.name] = down  # `require_match` reports it
            continue
        result[weight.name] = _merged(weight, down, up, alpha / down.shape[0])
    return result


def _is_lora(weight: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...]) -> bool:
    """Whether the product of a pair has the shape of the weight."""
    is_pair = len(weight) == len(down) == len(up) == 2 and down[0] == up[1] > 0
    return is_pair and (up[0], down[1]) == weight


def _merged(weight: LazyTensor, down: LazyTensor, up: LazyTensor, scale: float) -> LazyTensor:
    def add(values: Array) -> Array:
        product = up.numpy().astype("f4") @ down.numpy().astype("f4")
        return values.astype("f4") + scale * product

    # Half precision would round the small product away.
    return replace(weight.derive(weight.shape, add), dtype="F32")


# Weight norm


def fold_weight_norms(tensors: Tensors) -> Tensors:
    """Fold each pair `weight_g` (length) and `weight_v` (direction) into one `weight`."""
    result = dict(tensors)
    for base in _bases(tensors, ".weight_v"):
        if f"{base}.weight_g" in result:
            length, direction = result.pop(f"{base}.weight_g"), result.pop(f"{base}.weight_v")
            result[f"{base}.weight"] = fold_weight_norm(length, direction)
    return result
