"""Muon and AdamW in one optimizer."""

import pytest
import torch
from torch import nn

from soundloom.training.loop.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_singular_values_come_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = torch.linalg.svdvals(matrix), torch.linalg.svdvals(orthogonalize(matrix[None])[0])
    assert before.max() / before.min() > 1.5
    assert after.min() > 0.6
    assert after.max() < 1.3


def test_an_update_has_the_size_of_one_of_adamw():
    weight = nn.Parameter(torch.zeros(64, 32))
    weight.grad = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    Muon([{"params": [weight], "weight_decay": 0.0, "orthogonal": True}], lr=0.01).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2 * 0.01, rel=0.25)


def test_matrices_of_several_shapes_are_updated_independently():
    def stepped(shapes: list[tuple[int, int]]) -> list[nn.Parameter]:
        weights = [nn.Parameter(torch.ones(shape)) for shape in shapes]
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))
        Muon([{"params": weights, "weight_decay": 0.1, "orthogonal": True}], lr=0.1).step()
        return weights

    shapes = [(8, 4), (4, 9), (8, 4), (6, 6)]
    for shape, together in zip(shapes, stepped(shapes), strict=True):
        torch.testing.assert_close(together, stepped([shape])[0])


def test_other_groups_use_adamw():
    plain, ours = (nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    for parameter in (plain, ours):
        parameter.grad = torch.arange(16.0).reshape(4, 4)
    torch.optim.AdamW([plain], lr=0.1, weight_decay=0.5).step()
    Muon([{"params": [ours], "weight_decay": 0.5}], lr=0.1).step()
    assert torch.equal(plain, ours)


def test_the_state_survives_saving_and_loading(tmp_path):
    def made() -> tuple[nn.Parameter, Muon]:
        weight = nn.Parameter(torch.eye(4))
        return weight, Muon([{"params": [weight], "weight_decay": 0.1, "orthogonal": True}], lr=0.1)

    def stepped(weight: nn.Parameter, optimizer: Muon, times: int) -> None:
        for _ in range(times):
            weight.grad = weight.detach() @ torch.arange(16.0).reshape(4, 4)
            optimizer.step()

    whole, optimizer = made()
    stepped(whole, optimizer, 2)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    resumed, other = made()
    resumed.data.copy_(whole)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    stepped(whole, optimizer, 2)
    stepped(resumed, other, 2)
    assert torch.equal(whole, resumed)
