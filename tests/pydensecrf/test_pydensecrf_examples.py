"""The example scripts run with atrous.pydensecrf; and with pydensecrf, where it is installed, to the same result."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "pydensecrf").glob("*.py"))
MODULES = ["atrous.pydensecrf", "pydensecrf"]
OPTIONS = {"scribbles": ["--width", "120"]}


def installed(module):
    try:
        return importlib.util.find_spec(f"{module}.densecrf") is not None
    except ModuleNotFoundError:
        return False


def run(script, module, out):
    command = [sys.executable, str(script), "--module", module, "--out", str(out), *OPTIONS.get(script.stem, [])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    counts = next(line for line in printed if "of each label" in line).split(":")[1]
    with Image.open(out) as mask:
        return [int(count) for count in counts.split()], printed, np.array(mask)


def test_there_are_three():
    assert [script.stem for script in SCRIPTS] == ["other_channels", "scribbles", "step_by_step"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_with_atrous(script, tmp_path):
    counts, printed, mask = run(script, "atrous.pydensecrf", tmp_path / "mask.png")
    assert min(counts) > 0
    assert len(np.unique(mask)) == len(counts)
    if script.stem == "scribbles":
        assert mask.size == sum(counts)
    else:  # the CRF takes most of the errors away
        before, after = (int(number) for number in printed[-1].split(":")[1].split())
        assert after < before / 20


@pytest.mark.skipif(not installed("pydensecrf"), reason="pydensecrf2 is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_with_both(script, tmp_path):
    ours, theirs = (run(script, module, tmp_path / f"{module}.png") for module in MODULES)
    assert ours[0] == theirs[0]
    np.testing.assert_array_equal(ours[2], theirs[2])
