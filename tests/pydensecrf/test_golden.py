"""The same Q as pydensecrf2's, to 1e-4; see make_golden.py."""

from pathlib import Path

import numpy as np
import pytest
from cases import small_cases, solve
from make_golden import divergences

GOLDEN = np.load(Path(__file__).with_name("golden.npz"))


def test_the_golden_files_cover_what_the_cases_name():
    assert {case.name for case in small_cases()} == {name for name in GOLDEN if not name.endswith("divergence")}
    assert {case.labels for case in small_cases()} >= {2, 40}


@pytest.mark.parametrize("case", small_cases(), ids=lambda case: case.name)
def test_marginals(case):
    q = solve("atrous.pydensecrf", case)
    assert q.dtype == np.float32
    np.testing.assert_allclose(q, GOLDEN[case.name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", small_cases(), ids=lambda case: case.name)
def test_divergence_of_each_step(case):
    expected = GOLDEN[f"{case.name} divergence"]
    np.testing.assert_allclose(
        divergences("atrous.pydensecrf", case), expected, rtol=2e-5, atol=1e-4 * np.abs(expected).max()
    )
