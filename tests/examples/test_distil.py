"""The geometry of the soft targets that the example writes; its network is not needed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "distil" / "teacher_scores.py"


@pytest.fixture
def script(monkeypatch):
    runtime = ModuleType("ai_edge_litert.interpreter")
    runtime.Interpreter = object
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", runtime)
    spec = importlib.util.spec_from_file_location("teacher_scores", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("height", "width"), [(385, 513), (513, 341), (513, 513), (17, 513), (1, 513)])
def test_corner_cells_lie_on_the_corner_pixels(script, height, width):
    # Scores that are the row and the column, in pixels: cell k lies at pixel 16 k.
    rows, columns = 16.0 * np.indices((33, 33), np.float32)
    found = script.on_image(np.stack([rows, columns]), height, width).astype(float)
    assert found.shape == (2, -(-(height - 1) // 16) + 1, -(-(width - 1) // 16) + 1)
    np.testing.assert_allclose(found[0, :, 0], np.linspace(0, height - 1, found.shape[1]), atol=0.2)
    np.testing.assert_allclose(found[1, 0], np.linspace(0, width - 1, found.shape[2]), atol=0.2)
