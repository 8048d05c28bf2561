import subprocess
import sys
from pathlib import Path

import pytest

STUB = Path(__file__).parents[1] / "src/atrous/_native.pyi"


@pytest.mark.skipif(not STUB.is_file(), reason="the tests run without the source tree")
def test_the_stub_is_generated_from_the_module(tmp_path):
    pytest.importorskip("nanobind", reason="nanobind is not installed")
    generated = tmp_path / "_native.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "atrous._native", "-o", str(generated)]
    subprocess.run(command, check=True)
    assert generated.read_text() == STUB.read_text(), "run `make stub`"
