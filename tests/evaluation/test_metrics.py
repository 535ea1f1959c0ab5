import math

import pytest

from soundloom.evaluation.metrics import Metric, table


@pytest.mark.parametrize(
    ("value", "goal", "bound", "unit", "figure", "result"),
    [
        (0.8996, 0.9, "at least", "", "0.8996", "missed"),
        (0.8996, 0.9, "at least", "%", "89.96 %", "missed"),
        (0.846, 0.85, "at least", "%", "84.6 %", "missed"),
        (0.9, 0.9, "at least", "", "0.90", "reached"),
        (0.91, 0.9, "at least", "", "0.91", "reached"),
        (4.004, 4.0, "at most", "dB", "4.004 dB", "missed"),
        (3.4, 4.0, "at most", "dB", "3.40 dB", "reached"),
        (math.nan, 4.0, "at most", "dB", "nan dB", "missed"),
    ],
)
def test_value_has_enough_digits_to_differ_from_a_missed_goal(value, goal, bound, unit, figure, result):
    line = table([Metric("some metric", value, 8, None, goal, bound, unit)])[1]
    assert line.split("  ")[-2].strip() == result
    assert line.removeprefix("some metric").strip().split("  ")[0] == figure
