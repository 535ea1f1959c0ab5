"""EnCodec, the codec of MusicGen: mono audio to a few tokens per frame, and back.

Encoder and decoder are lists of layers: strided convolutions, residual units, an LSTM at the lowest rate, and
activations. A residual vector quantizer maps each latent to tokens: each stage takes the nearest entry of its codebook
to the remainder of the stages before. Because of the LSTM, a clip cannot be encoded in independent chunks.
Letters for axes: b batch, c channels, n samples, t frames, q stages. Source: audiocraft, modules/seanet.py and
quantization; transformers, models/encodec.

Inside the encoder and decoder, channels are the last axis, as MLX requires; kernels are stored in the checkpoint's
layout and transposed by `KERNEL_AXES` when used.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from mlx import nn

from soundloom.config.musicgen.encodec import CodecLayer, EncodecConfig
from soundloom.engines.mlx.graph import fused

# From the checkpoint's axes to MLX's: out, kernel, in.
KERNEL_AXES = {"conv": (0, 2, 1), "transposed": (1, 2, 0)}


def pad(x: mx.array, left: int, right: int, mode: str) -> mx.array:
    """Pad x (b, n, c) on both sides; a signal too short to reflect is extended with zeros first."""
    if mode == "constant":
        return mx.pad(x, [(0, 0), (left, right), (0, 0)])
    missing = max(0, max(left, right) + 1 - x.shape[1])
    order = np.pad(np.arange(x.shape[1] + missing), (left, right), mode="reflect")
    padded = mx.pad(x, [(0, 0), (0, missing), (0, 0)])[:, mx.array(order)]
    return padded[:, : padded.shape[1] - missing]


class Kernel(nn.Module):
    """The weight and bias of a convolution, in the checkpoint's layout."""

    def __init__(self, layer: CodecLayer) -> None:
        super().__init__()
        ends = (layer.channels, layer.out) if layer.kind == "transposed" else (layer.out, layer.channels)
        self.weight = mx.random.normal((*ends, layer.kernel), scale=(layer.channels * layer.kernel) ** -0.5)
        self.bias = mx.zeros((layer.out,))


class CodecConv(nn.Module):
    """Convolution padded so that n samples become n / stride, rounded up."""

    def __init__(self, layer: CodecLayer, pad_mode: str) -> None:
        super().__init__()
        self.layer, self.pad_mode = layer, pad_mode
        self.conv = Kernel(layer)

    def __call__(self, x: mx.array) -> mx.array:
        weight = self.conv.weight.transpose(KERNEL_AXES["conv"])
        x = pad(x, *self.layer.padding(x.shape[1]), self.pad_mode)
        return mx.conv1d(x, weight, self.layer.stride, dilation=self.layer.dilation) + self.conv.bias


class CodecTransposed(nn.Module):
    """Transposed convolution trimmed so that n samples become n * stride."""

    def __init__(self, layer: CodecLayer) -> None:
        super().__init__()
        self.layer = layer
        self.conv = Kernel(layer)

    def __call__(self, x: mx.array) -> mx.array:
        left, right = self.layer.margins
        weight = self.conv.weight.transpose(KERNEL_AXES["transposed"])
        y = mx.conv_transpose1d(x, weight, self.layer.stride) + self.conv.bias
        return y[:, left : y.shape[1] - right]


@fused
def elu(x: mx.array) -> mx.array:
    """See `ELU`."""
    return mx.where(x > 0, x, mx.expm1(mx.minimum(x, 0)))


class ELU(nn.Module):
    """Exponential linear unit; nn.ELU is compiled on every device, see `fused`."""

    def __call__(self, x: mx.array) -> mx.array:
        return elu(x)


class CodecResidual(nn.Module):
    """Two convolutions, each after an activation, added to their input."""

    def __init__(self, layer: CodecLayer, pad_mode: str) -> None:
        super().__init__()
        first, second = (CodecConv(each, pad_mode) for each in layer.convolutions)
        self.block = [ELU(), first, ELU(), second]

    def __call__(self, x: mx.array) -> mx.array:
        h = x
        for layer in self.block:
            h = layer(h)
        return x + h


@fused
def lstm_cell(
    enter: mx.array, forget: mx.array, new: mx.array, leave: mx.array, cell: mx.array
) -> tuple[mx.array, mx.array]:
    """Return the next cell and hidden state of an LSTM, given its gates before their activations."""
    cell = mx.sigmoid(forget) * cell + mx.sigmoid(enter) * mx.tanh(new)
    return cell, mx.sigmoid(leave) * mx.tanh(cell)


class LSTM(nn.Module):
    """Layers of an LSTM over x (b, t, c), gates in the order input, forget, cell, output."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        for layer in range(depth):
            for source in ("ih", "hh"):
                self[f"weight_{source}_l{layer}"] = mx.random.normal((4 * width, width), scale=width**-0.5)
                self[f"bias_{source}_l{layer}"] = mx.zeros((4 * width,))

    def __call__(self, x: mx.array) -> mx.array:
        for layer in range(self.depth):
            x = self._run(x, layer)
        return x

    def _run(self, x: mx.array, layer: int) -> mx.array:
        bias = self[f"bias_ih_l{layer}"] + self[f"bias_hh_l{layer}"]
        inputs = x @ self[f"weight_ih_l{layer}"].T + bias
        recurrent = self[f"weight_hh_l{layer}"].T
        hidden = cell = mx.zeros((x.shape[0], x.shape[2]))
        outputs = []
        for t in range(x.shape[1]):
            gates = mx.split(inputs[:, t] + hidden @ recurrent, 4, axis=-1)
            cell, hidden = lstm_cell(*gates, cell)
            outputs.append(hidden)
        return mx.stack(outputs, axis=1)


class CodecLSTM(nn.Module):
    """LSTM over time, added to its input."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.lstm = LSTM(width, depth)

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.lstm(x)


class CodecHalf(nn.Module):
    """The layers of the encoder or of the decoder."""

    def __init__(self, layers: tuple[CodecLayer, ...], config: EncodecConfig) -> None:
        super().__init__()
        self.layers = [build_layer(layer, config) for layer in layers]

    def __call__(self, x: mx.array) -> mx.array:
        x = x.swapaxes(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x.swapaxes(1, 2)


def build_layer(layer: CodecLayer, config: EncodecConfig) -> nn.Module:
    if layer.kind == "conv":
        return CodecConv(layer, config.pad_mode)
    if layer.kind == "transposed":
        return CodecTransposed(layer)
    if layer.kind == "residual":
        return CodecResidual(layer, config.pad_mode)
    if layer.kind == "lstm":
        return CodecLSTM(layer.out, config.num_lstm_layers)
    return ELU()


class Codebook(nn.Module):
    """The codebook (tokens, c) of one stage."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.embed = mx.random.normal((config.codebook_size, config.hidden_size))

    def nearest(self, x: mx.array) -> mx.array:
        """Return the tokens (b, t) of the entries nearest to x (b, t, c)."""
        squares = mx.square(self.embed).sum(-1)
        return mx.argmin(mx.square(x).sum(-1, keepdims=True) - 2 * x @ self.embed.T + squares, axis=-1)


class QuantizerStage(nn.Module):
    """One stage of the quantizer, under the checkpoint's name."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.codebook = Codebook(config)


class Quantizer(nn.Module):
    """The residual vector quantizer."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.layers = [QuantizerStage(config) for _ in range(config.num_quantizers)]

    @property
    def codebooks(self) -> list[Codebook]:
        return [stage.codebook for stage in self.layers]

    def encode(self, latents: mx.array) -> mx.array:
        """Return tokens (b, q, t) of latents (b, c, t)."""
        rest, tokens = latents.swapaxes(1, 2), []
        for codebook in self.codebooks:
            tokens.append(codebook.nearest(rest))
            rest = rest - codebook.embed[tokens[-1]]
        return mx.stack(tokens, axis=1)

    def decode(self, tokens: mx.array) -> mx.array:
        """Return the sum (b, c, t) of the codebook entries of tokens (b, q, t)."""
        entries = [codebook.embed[tokens[:, stage]] for stage, codebook in enumerate(self.codebooks)]
        return mx.stack(entries).sum(0).swapaxes(1, 2)


class Encodec(nn.Module):
    """Encodes audio (b, 1, n) at the codec's rate as tokens (b, q, t), t = n / hop rounded up, and decodes them."""

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = CodecHalf(config.encoder_layers, config)
        self.decoder = CodecHalf(config.decoder_layers, config)
        self.quantizer = Quantizer(config)

    def encode(self, audio: mx.array) -> mx.array:
        return self.quantizer.encode(self.latents(audio))

    def latents(self, audio: mx.array) -> mx.array:
        """Return the latents (b, c, t) before quantization."""
        return self.encoder(audio)

    def decode(self, tokens: mx.array) -> mx.array:
        """Return audio (b, 1, t * hop)."""
        return self.decoder(self.quantizer.decode(tokens))
