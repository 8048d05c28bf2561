"""A short random use of the CRF; the long one is `python tests/fuzzing.py crf --cases 10000`."""

from fuzzing import fuzz

STANDS_FOR_A_WORKER = """
import os, sys, time
start, stop, step = map(int, sys.argv[-1].split(":"))
for number in range(start, stop, step):
    print("start", number, flush=True)
    if number == 3:
        os.abort()
    if number == 5:
        time.sleep(60)
    print(*(("bad", number, "wrong") if number == 6 else ("done", number, "passed")), flush=True)
"""


def test_random_cases_pass_or_are_refused():
    counts, findings = fuzz("crf", 1, range(200))
    assert findings == []
    assert sum(counts.values()) == 200
    assert counts["passed"] > 100


def test_crashes_hangs_and_findings_are_named_and_the_other_cases_run(tmp_path):
    program = tmp_path / "worker.py"
    program.write_text(STANDS_FOR_A_WORKER)
    counts, findings = fuzz("crf", 0, range(8), tell=lambda _: None, program=program, hang=1.0)
    assert [number for number, _ in findings] == [3, 5, 6]
    assert "crashes with exit code" in findings[0][1]
    assert "hangs" in findings[1][1]
    assert findings[2][1] == "wrong"
    assert counts == {"passed": 5, "found": 3}
