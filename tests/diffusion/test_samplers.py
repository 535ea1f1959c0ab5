import numpy as np
import pytest

from soundloom.config.stable_audio.request import SAMPLER_NAMES
from soundloom.diffusion.samplers import SAMPLERS, Times
from soundloom.diffusion.schedules import schedule


def run(name, velocity, x, times, noise=None):
    rng = np.random.default_rng(5)
    noise = noise or (lambda step: rng.standard_normal(x.shape))
    *_, result = SAMPLERS[name](velocity, x, times, noise)
    return result


def test_requests_name_every_sampler():
    assert set(SAMPLER_NAMES) == set(SAMPLERS)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "rk4"])  # which never evaluates at 0 itself
def test_the_exact_velocity_leads_to_the_data(name):
    data = np.random.default_rng(1).standard_normal((2, 3, 4))
    start = np.random.default_rng(2).standard_normal(data.shape)
    result = run(name, lambda x, t: (x - data) / t, start, Times(schedule(6)))
    np.testing.assert_allclose(result, data, atol=1e-9)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_yield_once_per_step(name):
    x = np.zeros((1, 1, 1))
    steps = SAMPLERS[name](lambda x, t: x, x, Times(schedule(7)), lambda step: x)
    assert len(list(steps)) == 7


def exact_flow(x, t):
    """Return the velocity of data from N(0, 1/4), whose flow maps a normal sample to half of it."""
    variance = (1 - t) ** 2 / 4 + t**2
    return (t - (1 - t) / 4) / variance * x


@pytest.mark.parametrize(
    ("name", "steps", "order"), [("euler", 16, 0.9), ("heun", 16, 1.9), ("dpmpp-2m", 64, 1.5), ("rk4", 4, 4)]
)
def test_the_error_shrinks_with_the_order_of_the_method(name, steps, order):
    start = np.ones((1, 1, 1))
    coarse, fine = (abs(run(name, exact_flow, start, Times(schedule(n))).item() - 0.5) for n in (steps, 2 * steps))
    assert np.log2(coarse / fine) > order


def test_the_stochastic_solver_preserves_the_variance_of_the_data():
    """With the exact velocity of N(0, 1/4); ping-pong does not, since it predicts conditional means."""
    start = np.random.default_rng(3).standard_normal((4, 100, 100))
    result = run("dpmpp-3m-sde", exact_flow, start, Times(schedule(60)))
    assert result.std() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_item_follows_its_own_times(name):
    x = np.random.default_rng(4).standard_normal((2, 3, 5))
    rows = np.stack([schedule(4), schedule(4, level=0.7)])
    noise = [np.random.default_rng(step).standard_normal(x.shape) for step in range(4)]
    together = run(name, exact_flow, x, Times(rows), lambda step: noise[step])
    for i in range(2):
        alone = run(name, exact_flow, x[i : i + 1], Times(rows[i]), lambda step, i=i: noise[step][i : i + 1])
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=2e-6, atol=1e-6)


def test_equal_rows_become_floats():
    assert isinstance(Times(np.stack([schedule(3)] * 2))[1], float)
