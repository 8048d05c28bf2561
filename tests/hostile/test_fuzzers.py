"""A short random use of each reader of files; the long one is `make hostile`, or `python tests/fuzzing.py tables`."""

import os

import pytest

from fuzzing import fuzz

# Cases in the short suite, some seconds each; `make hostile` multiplies them.
CASES = {"tables": 300, "pictures": 400, "models": 120, "names": 50}
TIMES = int(os.environ.get("HOSTILE_TIMES", "1"))
SEED = int(os.environ.get("HOSTILE_SEED", "0"))


@pytest.mark.parametrize("target", CASES)
def test_spoiled_files_are_read_or_refused_in_one_line(target):
    pytest.importorskip("onnx", reason="makes the models")
    cases = CASES[target] * TIMES
    counts, findings = fuzz(target, SEED, range(cases))
    assert findings == []
    assert sum(counts.values()) == cases
    assert counts["passed"] > cases // 100
