"""The example scripts run and show what they promise."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples" / "crf"


@pytest.mark.parametrize(
    ("script", "size", "least"),
    [("volume.py", (1152, 288), {"with the CRF": 99}), ("rgbd.py", (960, 240), {"color and depth": 99.5})],
)
def test_scripts(script, size, least, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [script, "--out", str(picture)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    printed = capsys.readouterr().out
    for row, percent in least.items():
        first = float(re.search(rf"^{row} +([\d.]+)%", printed, re.MULTILINE).group(1))
        assert first > percent
    with Image.open(picture) as image:
        assert image.size == size
