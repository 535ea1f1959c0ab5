"""Samplers of rectified flow: x_t = (1 - t) data + t noise, velocity v = noise - data, clean estimate D = x - t v.

Each is a generator that yields the latent after every step. The caller owns progress, cancellation and evaluation.
Latents are arrays (b, c, t) of any engine; only plain operators are used. `Times` returns times as Python floats, or
as arrays (b, 1, 1) where items differ. `noise_fn(step)` returns standard normal noise like the latents.
Sources: stable-audio-3, inference/sampling.py (euler, rk4, dpmpp-2m, pingpong); Heun's method; Lu et al. 2022 and
k-diffusion for dpmpp-3m-sde, derived here for rectified flow, for which it is not published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any  # torch.Tensor, mlx.core.array or numpy.ndarray
Velocity = Callable[[Array, Any], Array]
NoiseFn = Callable[[int], Array]
Sampler = Callable[[Velocity, Array, "Times", NoiseFn], Iterator[Array]]

TINY = 1e-10  # avoids infinite logarithms and quotients at both ends of a schedule


class Times:
    """A schedule (points,) or (b, points) for samplers; `array` converts a NumPy array to the engine's."""

    def __init__(self, schedule: np.ndarray, array: Callable[[np.ndarray], Array] = np.asarray) -> None:
        rows = np.atleast_2d(np.asarray(schedule, dtype=np.float64))
        # Equal rows become one schedule of floats, which never change the latents' dtype.
        self.values = rows[0] if (rows == rows[0]).all() else rows.T  # (points,) or (points, b)
        self._array = array

    def __len__(self) -> int:
        """Return the number of steps, one less than points."""
        return len(self.values) - 1

    def __getitem__(self, point: int) -> float | Array:
        return self.to_array(self.values[point])

    @property
    def shared(self) -> list[float]:
        """The start times of steps if all items share them, else empty."""
        return [float(value) for value in self.values[:-1]] if self.values.ndim == 1 else []

    def to_array(self, value: np.ndarray) -> float | Array:
        """Return a float, or an array (b, 1, 1) of one value per item."""
        if np.ndim(value) == 0:
            return float(value)
        return self._array(value.astype(np.float32)[:, None, None])


def euler(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """First order: follow the velocity."""
    for i in range(len(times)):
        x = x + (times[i + 1] - times[i]) * velocity(x, times[i])
        yield x


def heun(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """Second order: average the velocities at both ends of a step; the last step, to 0, is an Euler step."""
    for i in range(len(times)):
        t, t_next = times[i], times[i + 1]
        v = velocity(x, t)
        if i + 1 < len(times):
            v = (v + velocity(x + (t_next - t) * v, t_next)) / 2
        x = x + (t_next - t) * v
        yield x


def rk4(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """Fourth order, classical Runge-Kutta; the last evaluation avoids t = 0, where the model was not trained."""
    for i in range(len(times)):
        t, dt = times[i], times[i + 1] - times[i]
        end = times.to_array(np.maximum(times.values[i + 1], 1e-5))
        k1 = velocity(x, t)
        k2 = velocity(x + dt / 2 * k1, t + dt / 2)
        k3 = velocity(x + dt / 2 * k2, t + dt / 2)
        k4 = velocity(x + dt * k3, end)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        yield x


def pingpong(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """Predict the clean latent, then add fresh noise for the next time: the sampler of distilled checkpoints."""
    for i in range(len(times)):
        t, t_next = times[i], times[i + 1]
        clean = x - t * velocity(x, t)
        if i + 1 < len(times):
            clean = (1 - t_next) * clean + t_next * noise_fn(i)
        x = clean
        yield x


def dpmpp_2m(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """DPM-Solver++, second order, multistep: extrapolate the clean estimate from the last two."""
    t, logsnr = times.values, _logsnr(times.values)
    previous = None
    for i in range(len(times)):
        clean = x - times[i] * velocity(x, times[i])
        guess = clean
        if previous is not None and i + 1 < len(times):
            ratio = (logsnr[i + 1] - logsnr[i]) / (logsnr[i] - logsnr[i - 1])
            guess = clean + times.to_array(ratio / 2) * (clean - previous)
        keep = t[i + 1] / np.maximum(t[i], TINY)
        x = times.to_array(keep) * x + times.to_array(1 - keep) * guess
        previous = clean
        yield x


def dpmpp_3m_sde(velocity: Velocity, x: Array, times: Times, noise_fn: NoiseFn) -> Iterator[Array]:
    """DPM-Solver++, third order, multistep, fully stochastic; not a published sampler of these models."""
    t, logsnr = times.values, _logsnr(times.values)
    h = np.diff(logsnr, axis=0)
    history: list[Array] = []  # clean estimates, newest first
    for i in range(len(times)):
        clean = x - times[i] * velocity(x, times[i])
        history = [clean, *history[:2]]
        if i + 1 < len(times):
            data = times.to_array(-np.expm1(-2 * h[i])) * clean
            for weight, newer, older in _slopes(h, i, len(history)):
                data = data + times.to_array(weight) * (history[newer] - history[older])
            decay = t[i + 1] / np.maximum(t[i], TINY) * np.exp(-h[i])
            spread = t[i + 1] * np.sqrt(-np.expm1(-2 * h[i]))
            x = times.to_array(decay) * x + times.to_array(1 - t[i + 1]) * data + times.to_array(spread) * noise_fn(i)
        else:
            x = clean
        yield x


def _slopes(h: np.ndarray, i: int, known: int) -> list[tuple[np.ndarray, int, int]]:
    """Return the weights of differences of past clean estimates as (weight, newer, older), given `known` estimates."""
    if known == 1:
        return []
    phi2 = np.expm1(-2 * h[i]) / (2 * h[i]) + 1
    r0 = h[i - 1] / h[i]
    if known == 2:
        return [(phi2 / r0, 0, 1)]
    phi3 = phi2 / (2 * h[i]) - 0.5
    r1 = h[i - 2] / h[i]
    # With slopes s0 and s1: phi2 (s0 + (s0 - s1) r0 / (r0 + r1)) - phi3 (s0 - s1) / (r0 + r1).
    bend = (phi2 * r0 - phi3) / (r0 + r1)
    return [((phi2 + bend) / r0, 0, 1), (-bend / r1, 1, 2)]


def _logsnr(t: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(1 - t, TINY) / np.maximum(t, TINY))


SAMPLERS: dict[str, Sampler] = {
    "pingpong": pingpong,
    "euler": euler,
    "heun": heun,
    "rk4": rk4,
    "dpmpp-2m": dpmpp_2m,
    "dpmpp-3m-sde": dpmpp_3m_sde,
}
