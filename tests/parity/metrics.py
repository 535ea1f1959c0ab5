"""Run recorded calls of evaluation metrics; engines have no part in them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from soundloom.evaluation import alignment, signals
from soundloom.evaluation.controls.key import key_name, key_points
from soundloom.evaluation.controls.tempo import score_tempo
from soundloom.evaluation.distances import divergence, frechet, kernel
from soundloom.evaluation.distances.moments import Moments
from soundloom.evaluation.distances.neighbors import neighbors
from soundloom.evaluation.edits.kept import measure_kept
from soundloom.evaluation.edits.seams import step_rank
from soundloom.evaluation.statistics import adjust, intervals, tests
from soundloom.evaluation.windows import plan_windows
from tests.parity.case import Case

Arrays = dict[str, np.ndarray]
RULES = {"whole only, or one padded": "whole only", "every hop, last ones padded": "every hop"}


def scalars(**values: float) -> Arrays:
    return {name: np.atleast_1d(value) for name, value in values.items()}


def spans(starts: np.ndarray) -> list[slice]:
    return [slice(first, last) for first, last in pairwise(starts)]


class MetricsCase:
    """All calls of the case `metrics`."""

    def __init__(self, case: Case, engine: Any) -> None:
        del case, engine

    def frechet(self, call: Any, given: Arrays) -> Arrays:
        reference, generated = Moments.of(given["reference"]), Moments.of(given["generated"])
        step = reference.mean - generated.mean
        return {
            **scalars(value=frechet.frechet_distance(given["reference"], given["generated"]), from_means=step @ step),
            "mean_reference": reference.mean,
            "covariance_reference": reference.covariance,
            "mean_generated": generated.mean,
            "covariance_generated": generated.covariance,
        }

    def from_moments(self, call: Any, given: Arrays) -> Arrays:
        return scalars(value=frechet.frechet_from_moments(**given))

    def merge(self, call: Any, given: Arrays) -> Arrays:
        parts = [Moments.of(given["embeddings"][span]) for span in spans(given["file_starts"])]
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merged(part)
        return {"mean": merged.mean, "covariance": merged.covariance}

    def per_clip(self, call: Any, given: Arrays) -> Arrays:
        found = frechet.frechet_per_clip(given["reference"], given["generated"], given["item_starts"].tolist())
        return {"values": found[~np.isnan(found)]}

    def extrapolated(self, call: Any, given: Arrays) -> Arrays:
        sizes, reference = given["sizes"].tolist(), frechet.Factor.of(given["reference"])
        drawn = np.split(given["indices"], np.cumsum(sizes)[:-1])
        points = [reference.distance(frechet.Factor.of(given["generated"][indices])) for indices in drawn]
        line = frechet.fit_limit(sizes, points)
        return {"points": np.array(line.points), **scalars(intercept=line.intercept, slope=line.slope, r2=line.r2)}

    def frechet_bootstrap(self, call: Any, given: Arrays) -> Arrays:
        reference, rows = frechet.Factor.of(given["reference"]), given["generated"]
        clips = [rows[span] for span in spans(given["item_starts"])]
        value = reference.distance(frechet.Factor.of(rows))
        resampled = [
            reference.distance(frechet.Factor.of(np.concatenate([clips[i] for i in drawn])))
            for drawn in given["indices"]
        ]
        return {
            **scalars(value=value),
            "resampled": np.array(resampled),
            "percentile": np.array(intervals.percentiles(resampled)),
            "basic": np.array(intervals.basic(value, resampled)),
            "centred": np.array(intervals.centered(value, resampled)),
        }

    def kernel(self, call: Any, given: Arrays) -> Arrays:
        args, (reference, generated) = call["args"], (given["reference"], given["generated"])
        if args["kernel"] == "polynomial":
            return scalars(value=kernel.polynomial_distance(reference, generated, args["degree"]))
        side = {"median of reference": reference, "median of generated": generated}.get(args["bandwidth"])
        bandwidth = args["bandwidth"] if side is None else kernel.median_distance(side)
        unbiased = args["estimator"] == "unbiased"
        value = kernel.kernel_distance(reference, generated, bandwidth, args["kernel"], unbiased, args["scale"])
        return scalars(value=value, bandwidth=bandwidth)

    def permutation(self, call: Any, given: Arrays) -> Arrays:
        bandwidth = kernel.median_distance(given["reference"])
        test = kernel.permutation_test(given["reference"], given["generated"], bandwidth, given["permutations"])
        return {"permuted": test.permuted, **scalars(value=test.value, p=test.p)}

    def neighbors(self, call: Any, given: Arrays) -> Arrays:
        return scalars(**vars(neighbors(given["reference"], given["generated"], call["args"]["k"])))

    def divergence(self, call: Any, given: Arrays) -> Arrays:
        pooling, epsilon = call["args"]["windows"], call["args"]["epsilon"]

        def both(activation: Any) -> tuple[np.ndarray, np.ndarray]:
            reference, generated = (
                divergence.class_probabilities(given[side], pooling, activation) for side in ("reference", "generated")
            )
            return (
                divergence.kl_divergence(reference, generated, epsilon),
                divergence.kl_divergence(generated, reference, epsilon),
            )

        pq, qp = both("softmax")
        values = (pq if call["args"]["direction"] == "reference from generated" else qp).mean(axis=1)
        return {
            "values": values,
            **scalars(mean=values.mean(), pq=pq.mean(), qp=qp.mean(), both=pq.mean() + qp.mean()),
            **scalars(softmax=pq.mean(), sigmoid=both("sigmoid")[0].mean()),
        }

    def score(self, call: Any, given: Arrays) -> Arrays:
        found = alignment.score(given["audio"], given["text"])
        return {**vars(found), **scalars(score=found.score)}

    def edit(self, call: Any, given: Arrays) -> Arrays:
        texts = (given["target_text"], given["source_text"])
        return vars(alignment.edit(given["edited"], given["source"], *texts))

    def si_sdr(self, call: Any, given: Arrays) -> Arrays:
        found, truth = (given[name].astype(np.float64) for name in ("estimate", "reference"))
        joint = [(side - side.mean(axis=1, keepdims=True)).ravel() for side in (found, truth)]
        return {
            "per_channel": signals.si_sdr(found, truth),
            "per_channel_zero_mean": signals.si_sdr(found, truth, zero_mean=True),
            "joint_zero_mean": np.atleast_1d(signals.si_sdr(*joint)),
        }

    def si_sdr_improvement(self, call: Any, given: Arrays) -> Arrays:
        return {"values": signals.si_sdr_improvement(given["estimate"], given["reference"], given["input"])}

    def psnr(self, call: Any, given: Arrays) -> Arrays:
        pair = (given["estimate"], given["reference"])
        return scalars(
            peak=signals.psnr(*pair, "magnitude"), range=signals.psnr(*pair, "range"), snr=signals.snr(*pair)
        )

    def kept(self, call: Any, given: Arrays) -> Arrays:
        region = (call["args"]["start"], call["args"]["end"])
        return scalars(**vars(measure_kept(given["source"], given["edited"], [region])))

    def tempo(self, call: Any, given: Arrays) -> Arrays:
        pairs = zip(given["asked"].tolist(), given["heard"].tolist(), strict=True)
        found = [score_tempo(asked, heard) for asked, heard in pairs]
        names = ("accuracy1", "accuracy2", "octave_error")
        return {name: np.array([getattr(one, name) for one in found], float) for name in names}

    def key(self, call: Any, given: Arrays) -> Arrays:
        keys = [key_name(index) for index in given["order"].tolist()]
        return {
            name: np.array([[key_points(asked, heard, fifth_below=both) for heard in keys] for asked in keys])
            for name, both in (("points", False), ("points_fifth_both_ways", True))
        }

    def seam(self, call: Any, given: Arrays) -> Arrays:
        edges, near = (call["args"]["start"], call["args"]["end"]), call["args"]["near"]
        return {"rank": np.array([step_rank(given["edited"], edge, near) for edge in edges])}

    def windows(self, call: Any, given: Arrays) -> Arrays:
        args = call["args"]
        window, hop = (round(args[name] * args["rate"]) for name in ("window_seconds", "hop_seconds"))
        rule = RULES.get(args["rule"], args["rule"])
        plans = [plan_windows(int(length), window, hop, rule) for length in given["lengths"]]
        return {
            "counts": np.array([len(plan.starts) for plan in plans]),
            "starts": np.array([start for plan in plans for start in plan.starts]),
            "filled": np.array([filled for plan in plans for filled in plan.filled]),
        }

    def bootstrap(self, call: Any, given: Arrays) -> Arrays:
        values = (given["values"] if "values" in given else given["b"].astype(np.float64) - given["a"]).astype(
            np.float64
        )
        resampled = values[given["indices"]].mean(axis=1)
        return {
            "percentile": np.array(intervals.percentiles(resampled)),
            "basic": np.array(intervals.basic(values.mean(), resampled)),
            **scalars(mean=values.mean(), standard_error=resampled.std(ddof=1)),
        }

    def bca(self, call: Any, given: Arrays) -> Arrays:
        found = intervals.bca(given["values"].tolist(), given["indices"])
        return {"interval": np.array(found.interval), **scalars(bias=found.bias, acceleration=found.acceleration)}

    def sign_flip(self, call: Any, given: Arrays) -> Arrays:
        return scalars(**vars(tests.sign_flip(given["b"].astype(np.float64) - given["a"], given["signs"])))

    def wilcoxon(self, call: Any, given: Arrays) -> Arrays:
        return scalars(**vars(tests.wilcoxon(given["b"].astype(np.float64) - given["a"])))

    def holm(self, call: Any, given: Arrays) -> Arrays:
        return {"adjusted": adjust.holm(given["p"])}

    def benjamini_hochberg(self, call: Any, given: Arrays) -> Arrays:
        return {"adjusted": adjust.benjamini_hochberg(given["p"])}

    def wilson(self, call: Any, given: Arrays) -> Arrays:
        return {"interval": np.array([intervals.wilson(hits / count, count) for hits, count in given["hits"].tolist()])}

    def mcnemar(self, call: Any, given: Arrays) -> Arrays:
        return {"p": np.array([tests.mcnemar(first, count - first) for first, count in given["hits"].tolist()])}


METRICS = {
    "frechet.distance": "frechet",
    "frechet.from_moments": "from_moments",
    "moments.merge": "merge",
    "frechet.per_item": "per_clip",
    "frechet.extrapolated": "extrapolated",
    "frechet.bootstrap": "frechet_bootstrap",
    "kernel.distance": "kernel",
    "kernel.permutation": "permutation",
    "neighbours": "neighbors",
    "divergence.classes": "divergence",
    "alignment.score": "score",
    "alignment.edit": "edit",
    "signal.si_sdr": "si_sdr",
    "signal.si_sdr_improvement": "si_sdr_improvement",
    "signal.psnr": "psnr",
    "edit.seam": "seam",
    "windows.plan": "windows",
    "interval.bootstrap": "bootstrap",
    "interval.bca": "bca",
    "test.sign_flip": "sign_flip",
    "test.wilcoxon": "wilcoxon",
    "adjust.holm": "holm",
    "adjust.benjamini_hochberg": "benjamini_hochberg",
    "interval.wilson": "wilson",
    "test.mcnemar": "mcnemar",
    "edit.kept": "kept",
    "tempo.accuracy": "tempo",
    "key.weighted": "key",
}
