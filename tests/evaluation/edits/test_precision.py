from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundloom import load
from soundloom.evaluation.edits.precision import (
    TIMES,
    PrecisionPrompt,
    PrecisionRun,
    compare_precision,
    cosine,
    relative_error,
    run_precision,
    signal_figures,
)

PROMPTS = [PrecisionPrompt("a", "a bell", 1, 0.5), PrecisionPrompt("b", "rain", 2, 0.5)]


@pytest.fixture(scope="module")
def runs(tiny_model_folder):
    model = load(tiny_model_folder, keep_loaded=True, keep_bad=True, precision="fp32")
    plain = run_precision(model, PROMPTS, None, steps=2)
    return plain, run_precision(model, PROMPTS, plain, steps=2)


def values(run, reference):
    metrics, records = compare_precision("int8", run, reference, PROMPTS)
    return {metric.name.removeprefix("precision/int8/"): metric.value for metric in metrics}, records


def test_equal_runs_are_equal(runs):
    plain, reference = runs
    assert np.array_equal(plain.latents[0], reference.latents[0])
    found, records = values(reference, reference)
    assert found["sound_snr"] == found["latents_psnr"] == 200
    assert all(found[f"velocity_error/{time:g}"] == 0 for time in TIMES)
    assert [record.failures for record in records] == [(), ()]


def test_probes_follow_the_clips_and_times(runs):
    _, reference = runs
    assert [set(one) for one in reference.velocities] == [set(TIMES)] * 2
    assert reference.velocities[0][0.5].shape == reference.latents[0].shape
    assert not np.array_equal(reference.velocities[0][0.9], reference.velocities[0][0.1])
    assert not np.array_equal(reference.velocities[0][0.5], reference.velocities[1][0.5])


def test_errors_are_found_where_they_are(runs):
    _, reference = runs
    velocities = [{**one, 0.3: 1.1 * one[0.3]} for one in reference.velocities]
    latents = [one + np.float32(0.01) for one in reference.latents]
    found, _ = values(replace(reference, velocities=velocities, latents=latents), reference)
    assert found["velocity_error/0.3"] == pytest.approx(0.1, rel=1e-4)
    assert found["velocity_cosine/0.3"] == pytest.approx(1)
    assert found["velocity_error/0.5"] == 0
    assert found["latents_psnr"] == pytest.approx(40, abs=0.01)
    assert found["sound_snr"] == 200


def test_bf16_differs_a_little(runs, tiny_model_folder):
    plain, reference = runs
    model = load(tiny_model_folder, keep_loaded=True, keep_bad=True, precision="bf16")
    found, _ = values(run_precision(model, PROMPTS, plain, steps=2), reference)
    assert 0 < found["velocity_error/0.5"] < 0.1
    assert 10 < found["latents_snr"] < 100


def test_sounds_that_are_not_finite_are_failures(runs):
    _, reference = runs
    broken = PrecisionRun(
        reference.latents, [np.full_like(one, np.nan) for one in reference.sounds], reference.velocities
    )
    found, records = values(broken, reference)
    assert "sound_snr" not in found
    assert records[0].failures == ("not finite",)


def test_ratios_have_known_values():
    truth = np.array([[1.0, -1.0, 1.0, -1.0]])
    found = signal_figures("x", truth + 0.1, truth)
    assert found["x_snr"] == pytest.approx(20)
    assert found["x_psnr"] == pytest.approx(20)
    assert found["x_error"] == pytest.approx(0.1)
    assert np.isnan([cosine(truth, 0 * truth), relative_error(truth, 0 * truth)]).all()
