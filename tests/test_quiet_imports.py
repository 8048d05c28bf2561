import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import atrous
from atrous import _quiet_imports
from atrous._quiet_imports import SWITCHES, import_compiler, import_matplotlib, import_onnxruntime, import_openvino

PACKAGE = Path(atrous.__file__).parent


def test_libraries_are_imported_with_their_reports_disabled():
    # In place of each library stands nothing; what asks for it is told so, and where the switch was.
    code = f"""
import importlib, os, pkgutil, sys, warnings
switches, early = {SWITCHES!r}, []

class Absent:
    def find_spec(self, name, path=None, target=None):
        library = "onnxruntime" if name == "onnxscript" else name
        if library in switches:
            variable, value = switches[library]
            if os.environ.get(variable) != value:
                early.append(name)
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import atrous
from atrous.errors import MissingExtra
for module in pkgutil.walk_packages(atrous.__path__, "atrous."):
    if module.name != "atrous.__main__":
        try:
            importlib.import_module(module.name)
        except (ImportError, MissingExtra):
            pass
print(early)
"""
    cleared = {name: value for name, value in os.environ.items() if name not in dict(SWITCHES.values())}
    done = subprocess.run([sys.executable, "-c", code], env=cleared, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_one_module_imports_the_engines():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for library in {"onnxruntime", "openvino"} & {name.split(".")[0] for name in names}:
                found.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add(library)
    # What is exported is quantized by a module of ONNX Runtime's, after the import that disables its telemetry.
    assert found == {"_quiet_imports.py": {"onnxruntime", "openvino"}, "network/onnx_export.py": {"onnxruntime"}}


def test_onnx_runtime_is_silent_whoever_imported_it_first(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    called = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: called.append(True))
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert import_onnxruntime() is onnxruntime
    assert called == [True]
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_is_imported_without_its_telemetry(tmp_path):
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("raise SystemExit('telemetry is imported')")
    code = (
        "import sys\n"
        "from atrous._quiet_imports import import_openvino\n"
        "import_openvino()\n"
        "print([m for m in sys.modules if 'openvino_telemetry' in m])\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_whoever_wants_openvinos_telemetry_can_still_import_it():
    import_openvino()
    assert sys.modules.get("openvino_telemetry", "absent") is not None


def run(code, tmp_path, **environment):
    """What a program prints whose home and temporary folders are empty, and the files that it leaves there."""
    places = tmp_path / "home", tmp_path / "temporary"
    for place in places:
        place.mkdir(exist_ok=True)
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL", "TORCHIND"))}
    changed = {**cleared, "HOME": str(places[0]), "TMPDIR": str(places[1]), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=changed, capture_output=True, text=True, check=True)
    return done.stdout, sorted(path.relative_to(tmp_path).as_posix() for place in places for path in place.rglob("*"))


@pytest.mark.skipif(sys.platform != "linux", reason="matplotlib's folders are elsewhere")
def test_matplotlib_leaves_no_list_of_fonts_where_it_has_left_none(tmp_path):
    pytest.importorskip("matplotlib")
    code = """
import os
from atrous._quiet_imports import import_matplotlib
import_matplotlib()
from matplotlib.figure import Figure
figure = Figure()
figure.subplots().set_title("title")
figure.savefig(os.devnull, format="png")
print("MPLCONFIGDIR" in os.environ)
"""
    assert run(code, tmp_path) == ("False\n", [])
    (tmp_path / "home/.config/matplotlib").mkdir(parents=True)
    assert any("fontlist" in path for path in run(code, tmp_path)[1])


@pytest.mark.slow
def test_pytorchs_compiler_leaves_no_folder(tmp_path):
    pytest.importorskip("torch")
    code = """
import os, torch
from atrous._quiet_imports import import_compiler
import_compiler()
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
print("TORCHINDUCTOR_CACHE_DIR" in os.environ)
"""
    assert run(code, tmp_path) == ("False\n", [])


@pytest.mark.parametrize(
    ("library", "imports", "variable"),
    [
        ("matplotlib", import_matplotlib, "MPLCONFIGDIR"),
        pytest.param("torch", import_compiler, "TORCHINDUCTOR_CACHE_DIR", marks=pytest.mark.slow),
    ],
)
def test_a_folder_that_was_chosen_stays_so(monkeypatch, tmp_path, library, imports, variable):
    pytest.importorskip(library)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(_quiet_imports, "_matplotlib_folders", list)
    imports()
    assert os.environ[variable] == str(tmp_path)
