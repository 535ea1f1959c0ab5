"""Map tensor names between layouts on disk and canonical names, with one table per component for both directions.

A row pairs a canonical name with a stored one; `*` matches the same text in both, and the first matching row applies.
A weight-normed convolution is stored as length and direction (`weight_g`, `weight_v`) or folded into one `weight`.
`docs/formats.md` describes the layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from soundloom.checkpoints.formats.tensors import Array, LazyTensor, Tensors
from soundloom.checkpoints.stable_audio.shapes import (
    CONDITIONER_PREFIX,
    DECODER_STACK,
    DIT_PREFIX,
    ENCODER_STACK,
    SAME_PREFIX,
    is_ignorable,
)
from soundloom.errors import MismatchError

_KERNEL_AXES = 3  # output channels, input channels, samples


@dataclass(frozen=True)
class Row:
    """One row of a layout's table. With `channels_last`, a convolution is stored as (output, kernel, input)."""

    canonical: str
    stored: str
    channels_last: bool = False


@dataclass(frozen=True)
class Layout:
    """The names of a component on disk.

    `folded` is the canonical name of the convolution that is stored without weight norm. `optional` lists patterns of
    stored names that loaders ignore.
    """

    rows: tuple[Row, ...]
    folded: str = ""
    optional: tuple[str, ...] = ()

    def to_canonical(self, tensors: Mapping[str, LazyTensor]) -> Tensors:
        """Rename and transpose stored tensors. Names that match no row stay, and `require_match` reports them."""
        renamed = (
            self._convert(tensor, "stored", "canonical")
            for name, tensor in tensors.items()
            if not is_ignorable(name) and not any(_pattern(each).fullmatch(name) for each in self.optional)
        )
        result = {tensor.name: tensor for tensor in renamed}
        folded = result.get(f"{self.folded}.weight") if self.folded else None
        if folded is not None and len(folded.shape) == _KERNEL_AXES:
            del result[folded.name]
            result |= _split_weight_norm(folded)
        return result

    def from_canonical(self, tensors: Mapping[str, LazyTensor]) -> Tensors:
        """Invert `to_canonical`; drop tensors of other components."""
        tensors = dict(tensors)
        if self.folded:
            length, direction = (tensors.pop(f"{self.folded}.weight_{part}") for part in "gv")
            tensors[f"{self.folded}.weight"] = fold_weight_norm(length, direction)
        renamed = (
            self._convert(tensor, "canonical", "stored")
            for name, tensor in tensors.items()
            if self._row(name, "canonical")
        )
        return {tensor.name: tensor for tensor in renamed}

    def _convert(self, tensor: LazyTensor, source: str, target: str) -> LazyTensor:
        row = self._row(tensor.name, source)
        if row is None:
            return tensor
        match = _pattern(getattr(row, source)).fullmatch(tensor.name)
        assert match is not None  # `_row` chose the row by this pattern
        parts = iter(match.groups())
        name = re.sub(r"\*", lambda _: next(parts), getattr(row, target))
        if not row.channels_last or len(tensor.shape) != 3:
            return tensor.renamed(name)
        first, second, third = tensor.shape
        return tensor.derive((first, third, second), _swap_last_axes, name)

    def _row(self, name: str, side: str) -> Row | None:
        return next((row for row in self.rows if _pattern(getattr(row, side)).fullmatch(name)), None)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, template.split("*"))))


def _swap_last_axes(array: Array) -> Array:
    return np.ascontiguousarray(array.swapaxes(1, 2))


def _split_weight_norm(weight: LazyTensor) -> Tensors:
    """Represent `weight` with weight norm: the length of each output channel, and the weight itself as direction.

    A channel of zeros gets an arbitrary direction, since the engines divide by its length.
    """
    base = weight.name
    length = weight.derive((weight.shape[0], 1, 1), _length, f"{base}_g")
    direction = weight.derive(weight.shape, lambda w: np.where(_length(w) == 0, w.dtype.type(1), w), f"{base}_v")
    return {length.name: length, direction.name: direction}


def fold_weight_norm(length: LazyTensor, direction: LazyTensor) -> LazyTensor:
    """Compute the weight of a weight-normed convolution: the direction, scaled to `length` in each output channel.

    Raises MismatchError if the shapes do not match.
    """
    if len(direction.shape) != _KERNEL_AXES or length.shape != (direction.shape[0], 1, 1):
        raise MismatchError(
            f"{direction.name} {list(direction.shape)} and {length.name} {list(length.shape)} are not the direction "
            "and length of one convolution"
        )

    def fold(values: Array) -> Array:
        return values * (length.numpy() / _length(values))

    return direction.derive(direction.shape, fold, direction.name.removesuffix("_v"))


def _length(weight: Array) -> Array:
    """Return the Euclidean norm of each output channel, `(out, 1, 1)`."""
    return np.sqrt(np.square(weight.astype(np.float64)).sum(axis=(1, 2), keepdims=True)).astype(np.float32)


def _rows(prefix: str, pairs: Iterable[tuple[str, str]]) -> tuple[Row, ...]:
    return tuple(Row(prefix + canonical, stored) for canonical, stored in pairs)


def _same_blocks(stack: str) -> list[tuple[str, str]]:
    block = f"{stack}transformers.*."
    return [
        (f"{block}self_attn.*", "blocks.*.attn.*"),
        (f"{block}ff.ff.0.proj.*", "blocks.*.ff.glu_proj.*"),
        (f"{block}ff.ff.2.*", "blocks.*.ff.proj_out.*"),
        (f"{block}*", "blocks.*.*"),
        (f"{stack}mapping.*", "mapping.*"),
        (f"{stack}new_tokens", "new_tokens"),
        (f"{stack}shortcut.weight", "shortcut.weight"),
        ("bottleneck.running_std", "running_std"),
    ]


# A standalone autoencoder has the names of a full checkpoint, without the prefix.
SAME_ONLY = Layout((Row(SAME_PREFIX + "*", "*"),))

DIT_NPZ = Layout(
    (
        Row(CONDITIONER_PREFIX + "prompt.padding_embedding", "cond.padding_embedding"),
        Row(CONDITIONER_PREFIX + "seconds_total.embedder.embedding.1.*", "cond.seconds_total_*"),
        Row(DIT_PREFIX + "preprocess_conv.weight", "preprocess_conv.weight", channels_last=True),
        Row(DIT_PREFIX + "postprocess_conv.weight", "postprocess_conv.weight", channels_last=True),
        Row(DIT_PREFIX + "*norm.gamma", "*norm.weight"),
        Row(DIT_PREFIX + "*.to_local_embed.*", "*.to_local_embed.seq.*"),
        Row(DIT_PREFIX + "*", "*"),
    )
)

SAME_ENCODER_NPZ = Layout(
    _rows(
        SAME_PREFIX,
        [
            *_same_blocks(ENCODER_STACK),
            ("encoder.layers.2.*", "project_out.*"),
            ("bottleneck.scaling_factor", "scaling_factor"),
            ("bottleneck.bias", "bias"),
        ],
    ),
    folded=f"{SAME_PREFIX}{ENCODER_STACK}mapping",
)

SAME_DECODER_NPZ = Layout(
    _rows(SAME_PREFIX, [*_same_blocks(DECODER_STACK), ("decoder.layers.1.*", "project_in.*")]),
    folded=f"{SAME_PREFIX}{DECODER_STACK}mapping",
)

T5GEMMA_NPZ = Layout(
    (Row("model.encoder.*", "*"),),
    optional=("rope_inv_freq", "META", "TOKENIZER_MODEL"),
)
