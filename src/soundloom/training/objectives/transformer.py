"""A plain transformer for auxiliary modules: critics and scorers."""

from __future__ import annotations

from torch import Tensor, nn

from soundloom.engines.torch.blocks import FeedForward, Padding, RMSNorm, RotaryEmbedding, SelfAttention, rope_channels

HEAD_WIDTH, FF_MULT, NORM_EPS = 64, 2, 1e-5


class Block(nn.Module):
    """Pre-norm attention and feed-forward, with output layers initialized to zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.ff_norm = RMSNorm(width, NORM_EPS), RMSNorm(width, NORM_EPS)
        self.attention = SelfAttention(width, HEAD_WIDTH, RMSNorm, differential=False)
        self.ff = FeedForward(width, FF_MULT * width)
        for last in (self.attention.to_out, self.ff.ff[2]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, h: Tensor, rotary: RotaryEmbedding, padding: Padding | None) -> Tensor:
        h = h + self.attention(self.norm(h), rotary, padding)
        return h + self.ff(self.ff_norm(h))


class Transformer(nn.Module):
    """Blocks over tokens (b, n, width), with an optional mask `valid` (b, n)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, h: Tensor, valid: Tensor | None = None) -> Tensor:
        rotary = RotaryEmbedding.table(h.shape[1], rope_channels(HEAD_WIDTH), h.device)
        for block in self.blocks:
            h = block(h, rotary, None if valid is None else Padding(valid))
        return h


def mean_of_valid(h: Tensor, valid: Tensor) -> Tensor:
    """Mean (b, d) over the valid tokens of (b, n, d)."""
    return (h * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp_min(1)
