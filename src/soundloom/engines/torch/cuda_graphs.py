"""Capture programs as CUDA graphs and replay them with new inputs.

A graph saves kernel launches: at these sizes the host needs longer to launch a step than the GPU to compute it. The
first call of a key runs the program eagerly, which initializes libraries and compiles kernels; the second call captures
it; later calls replay it. On other devices `CapturedGraph` runs the program on the same static buffers, so that tests
compare replayed clips with eager ones without a GPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from soundloom.engines.torch.inference import inference_mode

Program = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]
MAX_GRAPHS = 16  # the most recently used


class CapturedGraph:
    """A program with static input and output buffers."""

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
            self.program(self.inputs)  # warm up: libraries initialize on a stream's first use
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
    """The captured graphs of an engine by key; they share one memory pool, since no two run at once."""

    def __init__(self, max_graphs: int = MAX_GRAPHS) -> None:
        self.max_graphs = max_graphs
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
            self.captured[key] = self._capture(program, inputs)
        self.captured.move_to_end(key)
        return self.captured[key](inputs)

    def _capture(self, program: Program, inputs: Mapping[str, Tensor]) -> CapturedGraph:
        if len(self.captured) >= self.max_graphs:
            self.captured.popitem(last=False)
        if self.pool is None and any(value.is_cuda for value in inputs.values()):
            self.pool = torch.cuda.graph_pool_handle()
        return CapturedGraph(program, inputs, self.pool)

    def clear(self) -> None:
        """Drop all graphs, which hold references to weights."""
        self.seen.clear()
        self.captured.clear()
        self.pool = None
