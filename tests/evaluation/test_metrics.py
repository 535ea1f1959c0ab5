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


def test_small_goals_are_shown_and_zero_has_no_sign():
    (line,) = table([Metric("difference", 0.0, 8, (-1e-9, 1e-5), 1e-4, "at most")])[1:]
    assert "at most 0.0001 " in line
    assert " 0.00 … 0.00 " in line
    assert "-0.00" not in table([Metric("distance", -1e-12, 8)])[1]
    assert "at most 0.00 " in table([Metric("changed", 0.0, 8, None, 0.0, "at most")])[1]
    assert "at most 0 %" in table([Metric("failures", 0.0, 8, None, 0.0, "at most", "%")])[1]
    assert "at most 0.1 %" in table([Metric("rare", 0.0, 8, None, 0.001, "at most", "%")])[1]
