"""EnCodec, the codec of MusicGen: mono audio to a few tokens per frame, and back.

Encoder and decoder are lists of layers: strided convolutions, residual units, an LSTM at the lowest rate, and
activations. A residual vector quantizer maps each latent to tokens: each stage takes the nearest entry of its codebook
to the remainder of the stages before. Because of the LSTM, a clip cannot be encoded in independent chunks.
Letters for axes: b batch, c channels, n samples, t frames, q stages. Source: audiocraft, modules/seanet.py and
quantization; transformers, models/encodec.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.config.musicgen.encodec import CodecLayer, EncodecConfig


def pad(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pad x (b, c, n) on both sides; a signal too short to reflect is extended with zeros first."""
    if mode == "constant":
        return F.pad(x, (left, right))
    missing = max(0, max(left, right) + 1 - x.shape[-1])
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode)
    return padded[..., : padded.shape[-1] - missing]


class CodecConv(nn.Module):
    """Convolution padded so that n samples become n / stride, rounded up."""

    def __init__(self, layer: CodecLayer, pad_mode: str) -> None:
        super().__init__()
        self.layer, self.pad_mode = layer, pad_mode
        self.conv = nn.Conv1d(layer.channels, layer.out, layer.kernel, layer.stride, dilation=layer.dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, *self.layer.padding(x.shape[-1]), self.pad_mode))


class CodecTransposed(nn.Module):
    """Transposed convolution trimmed so that n samples become n * stride."""

    def __init__(self, layer: CodecLayer) -> None:
        super().__init__()
        self.layer = layer
        self.conv = nn.ConvTranspose1d(layer.channels, layer.out, layer.kernel, layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.layer.margins
        y = self.conv(x)
        return y[..., left : y.shape[-1] - right]


class CodecResidual(nn.Module):
    """Two convolutions, each after an activation, added to their input."""

    def __init__(self, layer: CodecLayer, pad_mode: str) -> None:
        super().__init__()
        first, second = (CodecConv(each, pad_mode) for each in layer.convolutions)
        self.block = nn.ModuleList([nn.ELU(), first, nn.ELU(), second])

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.block:
            h = layer(h)
        return x + h


class CodecLSTM(nn.Module):
    """LSTM over time, added to its input."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, depth)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x.permute(2, 0, 1))
        return x + y.permute(1, 2, 0)


class CodecHalf(nn.Module):
    """The layers of the encoder or of the decoder."""

    def __init__(self, layers: tuple[CodecLayer, ...], config: EncodecConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(build_layer(layer, config) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def build_layer(layer: CodecLayer, config: EncodecConfig) -> nn.Module:
    if layer.kind == "conv":
        return CodecConv(layer, config.pad_mode)
    if layer.kind == "transposed":
        return CodecTransposed(layer)
    if layer.kind == "residual":
        return CodecResidual(layer, config.pad_mode)
    if layer.kind == "lstm":
        return CodecLSTM(layer.out, config.num_lstm_layers)
    return nn.ELU()


class Codebook(nn.Module):
    """The codebook (tokens, c) of one stage."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(config.codebook_size, config.hidden_size))

    def nearest(self, x: Tensor) -> Tensor:
        """Return the tokens (b, t) of the entries nearest to x (b, t, c)."""
        squares = self.embed.square().sum(-1)
        return (x.square().sum(-1, keepdim=True) - 2 * x @ self.embed.T + squares).argmin(-1)


class QuantizerStage(nn.Module):
    """One stage of the quantizer, under the checkpoint's name."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.codebook = Codebook(config)


class Quantizer(nn.Module):
    """The residual vector quantizer."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(QuantizerStage(config) for _ in range(config.num_quantizers))

    @property
    def codebooks(self) -> list[Codebook]:
        return [stage.codebook for stage in self.layers if isinstance(stage, QuantizerStage)]

    def encode(self, latents: Tensor) -> Tensor:
        """Return tokens (b, q, t) of latents (b, c, t)."""
        rest, tokens = latents.transpose(1, 2), []
        for codebook in self.codebooks:
            tokens.append(codebook.nearest(rest))
            rest = rest - codebook.embed[tokens[-1]]
        return torch.stack(tokens, dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the sum (b, c, t) of the codebook entries of tokens (b, q, t)."""
        entries = [codebook.embed[tokens[:, stage]] for stage, codebook in enumerate(self.codebooks)]
        return torch.stack(entries).sum(0).transpose(1, 2)


class Encodec(nn.Module):
    """Encodes audio (b, 1, n) at the codec's rate as tokens (b, q, t), t = n / hop rounded up, and decodes them."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = CodecHalf(config.encoder_layers, config)
        self.decoder = CodecHalf(config.decoder_layers, config)
        self.quantizer = Quantizer(config)

    def encode(self, audio: Tensor) -> Tensor:
        return self.quantizer.encode(self.latents(audio))

    def latents(self, audio: Tensor) -> Tensor:
        """Return the latents (b, c, t) before quantization."""
        return self.encoder(audio)

    def decode(self, tokens: Tensor) -> Tensor:
        """Return audio (b, 1, t * hop)."""
        return self.decoder(self.quantizer.decode(tokens))
