"""Fixed series of operations, captured once as CUDA graphs and replayed with new inputs.

A graph saves the launches: at these sizes the host needs longer to issue a step than the device to compute it. The
first call of a key runs plainly, which sets up libraries and compiles kernels; the second is captured; later ones are
replayed. On other devices `CapturedGraph` runs the same program over the same fixed buffers, which lets tests compare
replayed clips with plain ones without a GPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from soundloom.engines.torch.inference import inference_mode

Program = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]
MOST = 16  # graphs that are kept, the latest used


class CapturedGraph:
    """A program over inputs of fixed shapes, whose buffers and outputs stay where they are."""

    def __init__(self, program: Program, inputs: Mapping[str, Tensor], pool: Any = None) -> None:
        self.program = program
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.graph: torch.cuda.CUDAGraph | None = None
        self.outputs: tuple[Tensor, ...] = ()
        if on_cuda := [value.device for value in self.inputs.values() if value.is_cuda]:
            with torch.cuda.device(on_cuda[0]):
                self._capture(pool)

    def _capture(self, pool: Any) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.program(self.inputs)  # what libraries set up on a stream's first use must not be captured
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.outputs = self.program(self.inputs)

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the program's outputs for new inputs; the next call overwrites them."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value)
        if self.graph is None:
            return self.program(self.inputs)
        self.graph.replay()
        return self.outputs


class GraphCache:
    """The replays of an engine by key. They share one pool of memory, since no two run at once."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.seen: set[Hashable] = set()
        self.captured: OrderedDict[Hashable, CapturedGraph] = OrderedDict()
        self.pool: Any = None

    @inference_mode
    def __call__(self, key: Hashable, program: Program, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return program(inputs); equal keys promise equal programs and inputs of equal shapes and dtypes."""
        if key not in self.seen:
            self.seen.add(key)
            return program(inputs)
        if key not in self.captured:
            self.captured[key] = self._record(program, inputs)
        self.captured.move_to_end(key)
        return self.captured[key](inputs)

    def _record(self, program: Program, inputs: Mapping[str, Tensor]) -> CapturedGraph:
        if len(self.captured) >= self.most:
            self.captured.popitem(last=False)
        if self.pool is None and any(value.is_cuda for value in inputs.values()):
            self.pool = torch.cuda.graph_pool_handle()
        return CapturedGraph(program, inputs, self.pool)

    def clear(self) -> None:
        """Forget all recordings, whose weights may be about to leave memory."""
        self.seen.clear()
        self.captured.clear()
        self.pool = None
