import json

import pytest

from soundloom.bench.cases import Case, make_cases
from soundloom.bench.report import compare, ratio_line, read_baseline, table
from soundloom.errors import CorruptFileError, RequestError


def result(seconds, peak, name="small-music 5 s auto 8 steps"):
    stages = {"text": 0.1, "sample": 1.0, "decode": 0.5}
    warm = {"seconds": seconds, "times_real_time": 5 / seconds, "stages": stages}
    cold = {"seconds": 9.0, "first_step": 3.25, "stages": stages}
    return {"case": name, "cold": cold, "warm": warm, "peak": {"host": peak, "device": 0}}


def test_cases_are_all_combinations():
    cases = make_cases(["a", "b"], [5, 30], ["fp32", "int8"], 8, 2)
    assert len({case.key for case in cases}) == 8
    assert Case("a", 5, "fp32").key == "a 5 s fp32 8 steps"


def test_a_table_has_aligned_columns_and_real_time_factors():
    header, line = table([result(2.0, 1.5e9)])
    assert len(header) == len(line)
    assert line.split()[-3:] == ["2.50", "1500", "MB"]


def test_runs_are_compared_case_by_case(tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"results": [result(4.0, 1e9)]}))
    results = [result(2.0, 1.5e9), result(2.0, 1e9, "medium 5 s auto 8 steps")]
    same, new = compare(results, read_baseline(path))
    assert "0.50 times the warm seconds, 1.50 times the memory" in same
    assert new.endswith("not in the baseline")


def test_a_missing_or_invalid_baseline_is_reported(tmp_path):
    with pytest.raises(RequestError, match="no baseline"):
        read_baseline(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="is not a baseline"):
        read_baseline(tmp_path / "other.json")


def test_the_ratio_is_other_over_soundloom():
    line = ratio_line("decoder", {"ours": 1.0, "theirs": 2.5, "times_as_fast": 2.5})
    assert line == "decoder: soundloom 1.00 s, other 2.50 s, 2.50 times as fast"
