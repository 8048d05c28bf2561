"""Who may import whom, and what must not be imported to segment a photo."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import atrous

PACKAGE = Path(atrous.__file__).parent
# From the bottom up; parts on one line must not import each other.
LAYERS = [
    {
        "errors",
        "_io",
        "_printable",
        "_protobuf",
        "_quiet_imports",
        "_settings_files",
        "_native",
    },
    {"_distributed", "_resources", "_signals"},
    {"_parallel", "_provenance"},
    {"image_io"},
    {"labelmap"},
    {"crf"},
    {"data"},
    {"network", "backends", "pydensecrf"},
    {"segmenter"},
    {"evaluation"},
    {"training", "video", "web", "bulk"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def imported_parts(path: Path) -> set[str]:
    """Top-level parts of atrous that a module imports, at its head or inside functions."""
    package = ["atrous", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            names = [module] if len(module) > 1 else [[*module, alias.name] for alias in node.names]
            found |= {name[1] for name in names if name[0] == "atrous" and len(name) > 1}
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)


def test_every_part_has_a_level():
    assert {p.relative_to(PACKAGE).parts[0] for p in MODULES} <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_downward(path):
    own = path.relative_to(PACKAGE).parts[0]
    for part in imported_parts(path) - {own}:
        assert LEVEL[part] < LEVEL[own], f"{own} imports {part}"


def test_segmenting_does_not_import_pytorch_or_the_exporter():
    code = (
        "import sys, atrous; atrous.Segmenter, atrous.DenseCRF;"
        "import atrous.cli, atrous.cli.segment, atrous.cli.refine;"
        "print([m for m in ('torch', 'onnx', 'safetensors', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_without_pytorch_the_commands_say_which_extra_to_install(tmp_path):
    hidden = tmp_path / "torch"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    for arguments in (["train", ".", "--out", "run"], ["export", "checkpoint", "model.onnx"]):
        command = [sys.executable, "-c", "import atrous.cli; atrous.cli.main()", *arguments]
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        assert done.returncode == 2
        # Which is missed first depends on what else of the extra is there.
        assert done.stderr.startswith(("error: torch is not installed", "error: safetensors is not installed"))
        assert "pip install 'atrous[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
