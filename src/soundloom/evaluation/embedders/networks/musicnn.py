"""musicnn: a tagger of music with filters that are tall in frequency or long in time.

Source: Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging"; package
musicnn 0.1.0. Modules are named by the checkpoint's keys, in the order of their creation.

    samples -> log mel spectrogram (b, f, m) -> 5 convolutions, each reduced to its maximum over m -> (b, f, 561)
    -> 3 convolutions over time, with residuals; all outputs side by side -> (b, f, 753)
    -> maximum and mean over time, interleaved (b, 1506) -> dense 200 (the embedding) -> dense 50 (logits of tags)

Letters: b batch, n samples, f frames, m mel bands, c features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.evaluation.embedders.mel import slaney_unit_area
from soundloom.evaluation.embedders.networks.run import FrameSpectra

RATE = 16000  # Hz
FRAME, HOP, FRAMES = 512, 256, 187
WINDOW = (FRAMES - 1) * HOP + FRAME  # samples, 3 s
BANDS = 96
GAIN = 1e4  # of the power before the logarithm
LARGEST_HALF = 65504.0  # the largest float16; training data were stored in this dtype
TALL = ((7, 38, 204), (7, 67, 204))  # frames, bands and number of filters
LONG = ((128, 51), (64, 51), (32, 51))  # frames and number of filters
MIDDLE, FRAMES_OF_MIDDLE = 64, 7
FRONT = sum(shape[-1] for shape in (*TALL, *LONG))
POOLED = 2 * (FRONT + 3 * MIDDLE)
DIMENSIONS, TAGS = 200, 50
EPSILON = 1e-3  # of batch norms


class MusicnnNetwork(nn.Module):
    """Windows (b, n) in ±1 at 16 kHz to vectors (b, 200); `logits` gives those of the tags (b, 50)."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.spectra = FrameSpectra(FRAME, HOP, periodic=True)
        mel = torch.from_numpy(slaney_unit_area(BANDS, FRAME, RATE).T).float()
        self.register_buffer("filters", mel, persistent=False)
        self.batch_normalization = nn.BatchNorm2d(1, EPSILON)
        shapes = [(frames, bands, outputs) for frames, bands, outputs in TALL]
        shapes += [(frames, 1, outputs) for frames, outputs in LONG]
        shapes += [(FRAMES_OF_MIDDLE, inputs, MIDDLE) for inputs in (FRONT, MIDDLE, MIDDLE)]
        for i, (frames, bands, outputs) in enumerate(shapes):
            self.add_module(f"conv2d_{i}" if i else "conv2d", nn.Conv2d(1, outputs, (frames, bands)))
            self.add_module(f"batch_normalization_{i + 1}", nn.BatchNorm2d(outputs, EPSILON))
        self.batch_normalization_9, self.dense = nn.BatchNorm1d(POOLED, EPSILON), nn.Linear(POOLED, DIMENSIONS)
        self.batch_normalization_10, self.dense_1 = nn.BatchNorm1d(DIMENSIONS, EPSILON), nn.Linear(DIMENSIONS, TAGS)

    def features(self, windows: Tensor) -> Tensor:
        """Log mel spectrogram (b, f, m) of windows (b, n).

        Power is rounded to float16 as in the training data. The package's own scaling then exceeds the range of
        float16 for loud tones; here it is in float32.
        """
        power = (self.spectra(windows) @ self.filters).clamp_max(LARGEST_HALF).half().float()
        return torch.log10(1 + GAIN * power)

    def forward(self, windows: Tensor) -> Tensor:
        x = self.batch_normalization(self.features(windows)[:, None])  # (b, 1, f, m)
        front = torch.cat([self._layer(i, x).amax(3) for i in range(len(TALL) + len(LONG))], dim=1)  # (b, c, f)
        first = self._over_time(5, front)
        second = first + self._over_time(6, first)
        third = second + self._over_time(7, second)
        side_by_side = torch.cat([front, first, second, third], dim=1)
        pooled = torch.stack([side_by_side.amax(2), side_by_side.mean(2)], dim=2).flatten(1)
        return self.batch_normalization_10(F.relu(self.dense(self.batch_normalization_9(pooled))))

    def logits(self, windows: Tensor) -> Tensor:
        return self.dense_1(self(windows))

    def _layer(self, index: int, x: Tensor) -> Tensor:
        """Convolve (b, 1, f, bands) to as many frames; batch norm follows ReLU in this network."""
        conv = self.get_submodule(f"conv2d_{index}" if index else "conv2d")
        assert isinstance(conv, nn.Conv2d)
        frames = conv.kernel_size[0]
        padded = F.pad(x, (0, 0, (frames - 1) // 2, frames // 2))  # even filters have one more frame after
        return self.get_submodule(f"batch_normalization_{index + 1}")(F.relu(conv(padded)))

    def _over_time(self, index: int, x: Tensor) -> Tensor:
        return self._layer(index, x.transpose(1, 2)[:, None])[..., 0]  # (b, c, f)
