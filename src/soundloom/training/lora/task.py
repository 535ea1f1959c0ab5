"""The task of adapter training for the training loop: losses of drawn batches, and what the logs show beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from soundloom.training.loop.rng import RngStream
from soundloom.training.lora.clips import Batch, ClipSampler
from soundloom.training.lora.config import LoraConfig
from soundloom.training.lora.dropout import dropout_masks
from soundloom.training.lora.layers import TrainableAdapter
from soundloom.training.lora.metrics import TIME_BINS, MeasuringSchedule, held_out_losses, loss_by_time, time_bins
from soundloom.training.lora.network import BaseNetwork
from soundloom.training.lora.objective import PaddingMode, step_losses


class LoraTask:
    """Flow matching of an adapter beside a frozen network."""

    def __init__(
        self,
        network: BaseNetwork,
        module: TrainableAdapter,
        sampler: ClipSampler,
        config: LoraConfig,
        held_out: Sequence[Batch] = (),
    ) -> None:
        self.network, self.module, self.sampler, self.config = network, module, sampler, config
        self.held_out = held_out
        self._measuring = MeasuringSchedule(config.measure_every, config.loop.steps)
        self._bins = torch.zeros(2, TIME_BINS)  # sums and counts of losses since the last report
        self._initial = {name: value.detach().clone() for name, value in _magnitudes(module)}

    def losses(self, step: int, stream: RngStream) -> dict[str, Tensor]:
        batch = self.sampler.draw(stream.rng, step * self.config.loop.accumulate + stream.micro_batch)
        self._drop_inputs(stream)
        found = step_losses(self.network, batch.inputs, batch.prompts, stream.device, self._padding_mode)
        bins = torch.from_numpy(time_bins(batch.inputs.times))
        self._bins[0].index_add_(0, bins, found.clips.float().cpu())
        self._bins[1].index_add_(0, bins, torch.ones(len(bins)))
        return {"loss": found.loss, "generated": found.generated, "preserved": found.preserved}

    def report(self, step: int, all_reduce: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Return the loss in bins of time, the size of the change, and at intervals the loss of held-out clips."""
        values = {"change": self._change(), "magnitude drift": self._drift()}
        sums, counts = all_reduce(self._bins.to(self._device)).cpu()
        values |= loss_by_time(sums.tolist(), counts.tolist())
        self._bins.zero_()
        if self.held_out and self._measuring.is_due(step):
            values |= self.measure()
        return {name: value for name, value in values.items() if value is not None}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return the mean loss of the held-out clips, and that at each of their times."""
        training = self.module.training
        self.module.eval()
        network, device, mode = self.network, self._device, self._padding_mode
        found = [step_losses(network, one.inputs, one.prompts, device, mode).clips for one in self.held_out]
        self.module.train(training)
        return held_out_losses(torch.stack(found).mean(0).tolist())

    def _drop_inputs(self, stream: RngStream) -> None:
        """Draw the inputs that each layer's dropout leaves out of a step."""
        share, layers = self.config.adapter.dropout, self.module.all
        if share:
            masks = dropout_masks(stream.rng, {name: layer.weight.shape[1] for name, layer in layers.items()}, share)
            for name, layer in layers.items():
                layer.mask = stream.tensor(masks[name])

    @property
    def _padding_mode(self) -> PaddingMode:
        return "zero-values" if self.config.compat else "mask"

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def _change(self) -> float:
        """Return the size of the low-rank changes relative to the weights, as Frobenius norms."""
        changes, weights = zip(*(layer.change() for layer in self.module.all.values()), strict=True)
        return float((sum(changes) / max(sum(weights), 1e-30)) ** 0.5)

    def _drift(self) -> float | None:
        """Return the mean relative change of the magnitudes since the start; None for types without any."""
        if not self._initial:
            return None
        current = dict(_magnitudes(self.module))
        drifts = [
            ((current[name].detach() - start) / start.abs().clamp_min(1e-12)).abs().mean().reshape(1)
            for name, start in self._initial.items()
        ]
        return float(torch.cat(drifts).mean())


def _magnitudes(module: TrainableAdapter) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in module.named_parameters() if "magnitude" in name.rpartition(".")[2]]
