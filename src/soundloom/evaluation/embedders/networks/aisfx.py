"""aisfx: a network for sound effects, trained to name classes of the Universal Category System.

Source: Ma and Lerch 2022, "Representation Learning for the Automatic Indexing of Sound Effects Libraries"; package
aisfx 0.1.2. Modules are named by the checkpoint's keys; its classifiers have no names of classes and are left out.

    samples -> log mel spectrogram (b, f, m) -> 4 blocks of 2 convolutions -> mean over m, maximum over f

Letters: b batch, n samples, f frames, m mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundloom.evaluation.embedders.mel import htk_unit_sum
from soundloom.evaluation.embedders.networks.run import FrameSpectra

RATE = 44100  # Hz
FRAME, HOP, FRAMES = 2048, 1024, 100
WINDOW = (FRAMES - 1) * HOP + FRAME  # samples, 2.3 s
BANDS = 96
GAIN = 1e4  # of the power before the logarithm
LARGEST = 9.457798957824707  # log power in the training data, which is divided by it
WIDTHS = (64, 128, 256, 512)
DIMENSIONS = WIDTHS[-1]


class ConvBlock(nn.Module):
    """Two convolutions with batch norm and ReLU, then a maximum over squares of `pool`."""

    def __init__(self, inputs: int, outputs: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.max_pool2d(F.relu(self.bn2(self.conv2(x))), self.pool)


class AisfxNetwork(nn.Module):
    """Windows (b, n) in ±1 at 44.1 kHz to vectors (b, 512), all of them positive."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.spectra = FrameSpectra(FRAME, HOP, periodic=False)
        self.register_buffer("filters", torch.from_numpy(htk_unit_sum(BANDS, FRAME, RATE).T).float(), persistent=False)
        inputs = (1, *WIDTHS[:-1])
        self.conv_block1, self.conv_block2, self.conv_block3 = (ConvBlock(inputs[i], WIDTHS[i], 2) for i in range(3))
        self.conv_block4 = ConvBlock(inputs[3], WIDTHS[3], 1)

    def features(self, windows: Tensor) -> Tensor:
        """Log mel spectrogram (b, f, m) of windows (b, n), 0 to about 1."""
        return torch.log10(1 + GAIN * (self.spectra(windows) @ self.filters)) / LARGEST

    def forward(self, windows: Tensor) -> Tensor:
        x = self.features(windows)[:, None]  # (b, 1, f, m)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            x = block(x)
        return x.mean(3).amax(2)
