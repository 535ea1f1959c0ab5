"""Our figures against those of fadtk, kadtk, prdc, torchmetrics, mir_eval and pyloudnorm, on the same arrays."""

from __future__ import annotations

import logging
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from soundloom.audio.loudness import integrated_loudness, loudness_range
from soundloom.evaluation.controls.key import key_name, key_points
from soundloom.evaluation.controls.tempo import score_tempo
from soundloom.evaluation.distances.frechet import frechet_distance
from soundloom.evaluation.distances.kernel import kernel_distance, median_distance
from soundloom.evaluation.distances.neighbors import neighbors
from soundloom.evaluation.signals import si_sdr
from tests.evaluation.published import definitions, wheel

pytestmark = pytest.mark.slow

RATE = 48000


def embeddings(count, dimensions, seed):
    """Correlated rows like embeddings: few directions hold most of the variance."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions)) * np.exp(-np.arange(dimensions) / 8)[:, None]
    return rng.normal(size=(count, dimensions)) @ mixing + 0.2 * rng.normal(size=(count, dimensions)) + 0.1 * seed


REFERENCE, GENERATED = embeddings(300, 32, 1), embeddings(260, 32, 2)
FEW = embeddings(20, 32, 3)  # fewer rows than dimensions: a singular covariance


def fadtk():
    linalg = pytest.importorskip("scipy.linalg")
    from numpy.lib.scimath import sqrt

    return definitions(
        wheel("fadtk", "1.1.0"),
        "fadtk/fad.py",
        ("calc_embd_statistics", "calc_frechet_distance"),
        {"np": np, "linalg": linalg, "scisqrt": sqrt, "log": logging.getLogger("fadtk")},
    )


@pytest.mark.parametrize("generated", [GENERATED, FEW], ids=["many", "few"])
def test_frechet_distance_of_fadtk(generated):
    """fadtk takes eigenvalues of the product of both covariances: 1e-15 apart, and 1e-8 where one is singular."""
    published = fadtk()
    statistics = [value for rows in (REFERENCE, generated) for value in published["calc_embd_statistics"](rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy, about the argument disp
        theirs = float(np.real(published["calc_frechet_distance"](*statistics)))
    assert frechet_distance(REFERENCE, generated) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "iq", "imq"])
def test_kernel_distance_of_kadtk(kernel):
    """By default kadtk takes the bandwidth of the evaluated set, in float32; ours is that of the reference."""
    import torch

    published = definitions(
        wheel("kadtk", "1.1.0"),
        "kadtk/kad.py",
        ("SCALE_FACTOR", "calc_kernel_audio_distance", "median_pairwise_distance"),
        {"np": np, "torch": torch},
    )
    x, y = torch.from_numpy(REFERENCE), torch.from_numpy(GENERATED)

    def theirs(bandwidth):
        return float(
            published["calc_kernel_audio_distance"](
                x, y, (None, None), "cpu", bandwidth=bandwidth, kernel=kernel, precision=torch.float64
            )
        )

    ours = median_distance(REFERENCE)
    assert kernel_distance(REFERENCE, GENERATED, ours, kernel) == pytest.approx(theirs(ours), abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        default = theirs(None)
    assert kernel_distance(REFERENCE, GENERATED, median_distance(GENERATED), kernel) == pytest.approx(default, abs=1e-6)
    assert abs(default - theirs(ours)) > 1e-3  # the two rules are two scales


@pytest.mark.parametrize("k", [3, 5])
def test_neighbors_of_prdc(k, capsys):
    """scikit-learn's matrix of distances is replaced by SciPy's."""
    cdist = pytest.importorskip("scipy.spatial.distance").cdist

    stand_in = SimpleNamespace(metrics=SimpleNamespace(pairwise_distances=lambda x, y, metric, n_jobs: cdist(x, y)))
    names = ("compute_pairwise_distance", "get_kth_value", "compute_nearest_neighbour_distances", "compute_prdc")
    published = definitions(wheel("prdc", "0.2"), "prdc/prdc.py", names, {"np": np, "sklearn": stand_in})
    theirs = published["compute_prdc"](REFERENCE, GENERATED, k)
    assert vars(neighbors(REFERENCE, GENERATED, k)) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("zero_mean", [False, True])
def test_si_sdr_of_torchmetrics(zero_mean):
    import torch

    published = definitions(
        wheel("torchmetrics", "1.9.0"),
        "torchmetrics/functional/audio/sdr.py",
        ("scale_invariant_signal_distortion_ratio",),
        {"torch": torch, "_check_same_shape": lambda a, b: None},
    )
    rng = np.random.default_rng(0)
    truth = rng.normal(0.1, 1, (2, 4000))
    found = 0.7 * truth + rng.normal(0, 0.3, (2, 4000))
    theirs = published["scale_invariant_signal_distortion_ratio"](
        torch.from_numpy(found), torch.from_numpy(truth), zero_mean=zero_mean
    )
    assert si_sdr(found, truth, zero_mean) == pytest.approx(theirs.numpy(), abs=1e-9)


def test_key_points_of_mir_eval():
    names = ("KEY_TO_SEMITONE", "validate_key", "validate", "split_key_string", "weighted_score")
    published = definitions(wheel("mir_eval", "0.8.2"), "mir_eval/key.py", names, {})
    keys = [key_name(index) for index in range(24)]
    ours = [[key_points(asked, found) for found in keys] for asked in keys]
    assert ours == [[published["weighted_score"](asked, found) for found in keys] for asked in keys]


def test_tempo_of_mir_eval():
    """Its tolerance is 8 % unless it is told otherwise, and it takes two tempos a side."""
    names = ("validate_tempi", "validate", "detection")
    published = definitions(wheel("mir_eval", "0.8.2"), "mir_eval/tempo.py", names, {"np": np, "warnings": warnings})
    for asked in (60.0, 97.0, 174.0):
        for found in asked * np.concatenate([np.linspace(0.3, 3.2, 150), [0.5, 2, 3, 1 / 3, 1.0401, 0.9599]]):
            heard = np.array([found, found])

            def theirs(first, second, heard=heard):
                return published["detection"](np.array([first, second]), 0.5, heard, tol=0.04)[1]

            score = score_tempo(asked, float(found))
            assert score.accuracy1 == theirs(0.0, asked)
            others = theirs(asked / 2, 2 * asked) or theirs(asked / 3, 3 * asked)
            assert score.accuracy2 == (score.accuracy1 or others)


def test_loudness_of_pyloudnorm(monkeypatch):
    """Its analog prototype differs: 0.04 LU here."""
    monkeypatch.syspath_prepend(str(wheel("pyloudnorm", "0.2.0")))
    try:
        meter = __import__("pyloudnorm").Meter(RATE)
    except ImportError as error:
        pytest.skip(f"pyloudnorm cannot be imported: {error}")
    rng = np.random.default_rng(0)
    level = np.repeat(10 ** (np.array([-30, -20, -12, -26, -40, -18]) / 20), 5 * RATE)
    audio = (0.3 * level * rng.normal(size=(2, level.size))).astype(np.float32)
    assert integrated_loudness(audio, RATE) == pytest.approx(meter.integrated_loudness(audio.T), abs=0.05)
    if hasattr(meter, "loudness_range"):
        assert loudness_range(audio, RATE) == pytest.approx(meter.loudness_range(audio.T), abs=0.01)
    for name in [name for name in sys.modules if name.startswith("pyloudnorm")]:
        del sys.modules[name]
