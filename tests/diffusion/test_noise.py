import subprocess
import sys

import numpy as np
import pytest

from soundloom.diffusion.noise import batch_noise, gaussian


def test_noise_is_pinned():
    """A seed must give the same clip after an update."""
    np.testing.assert_allclose(gaussian(7, 0, 2, 2).ravel(), PINNED, rtol=1e-6)


PINNED = [-0.2933390140533447, 1.5391918420791626, 1.703830599784851, 0.6367538571357727]


def test_longer_clips_start_with_the_noise_of_shorter_ones():
    np.testing.assert_array_equal(gaussian(3, 1, 8, 50)[:, :20], gaussian(3, 1, 8, 20))


def test_noise_does_not_depend_on_the_batch():
    np.testing.assert_array_equal(batch_noise([5, 6, 7], 2, 4, 10)[1], gaussian(6, 2, 4, 10))


def test_seeds_and_steps_give_different_standard_normal_noise():
    samples = [gaussian(seed, step, 64, 200) for seed in (0, 1) for step in (0, 1)]
    for i, a in enumerate(samples):
        assert abs(a.mean()) < 0.05
        assert abs(a.std() - 1) < 0.05
        for b in samples[:i]:
            assert abs((a * b).mean()) < 0.05


@pytest.mark.parametrize("module", ["diffusion.noise", "autoregressive.sampling"])
def test_numpy_random_is_loaded_before_sampling(module):
    """Its import would otherwise happen in the first step, and Ctrl-C during it would be lost."""
    code = f"import sys, soundloom.{module}; print('numpy.random' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
