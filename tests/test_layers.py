"""Who may import whom, and what must not be imported to segment a photo."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import atrous

PACKAGE = Path(atrous.__file__).parent
# From the bottom up; parts on one line must not import each other.
LAYERS = [
    {
        "errors",
        "_file_kinds",
        "_io",
        "_defaults",
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
    {"network", "backends", "pydensecrf", "meanfield"},
    {"segmenter"},
    {"evaluation"},
    {"training", "video", "web", "bulk"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def imports(path: Path, *, types: bool = True) -> Iterator[tuple[str, str]]:
    """Yield each import of atrous in a file, at its head or inside functions, as (module, name)."""
    package = ["atrous", *path.relative_to(PACKAGE).parent.parts] if path.is_relative_to(PACKAGE) else []
    tree = ast.parse(path.read_text())
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    for_types = {inner for block in blocks for node in block.body for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (types or node not in for_types):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            if module.split(".")[0] == "atrous":
                yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "atrous")


def imported_parts(path: Path) -> set[str]:
    """Top-level parts of atrous that a module imports."""
    names = [f"{module}.{name}".split(".") for module, name in imports(path)]
    return {name[1] for name in names if len(name) > 1 and name[1] in LEVEL}


def module_name(path: Path) -> str:
    parts = ("atrous", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)


def test_every_part_has_a_level():
    parts = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in PACKAGE.rglob("*.py")}
    assert parts - {"__init__", "__main__"} <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_downward(path):
    own = path.relative_to(PACKAGE).parts[0]
    for part in imported_parts(path) - {own}:
        assert LEVEL[part] < LEVEL[own], f"{own} imports {part}"


def test_no_modules_import_each_other_in_a_circle():
    paths = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {own: set() for own in paths}
    for own, path in paths.items():
        for module, name in imports(path, types=False):
            found = f"{module}.{name}" if f"{module}.{name}" in paths else module
            if found != own:
                graph[own].add(found)
    TopologicalSorter(graph).prepare()  # CycleError names the circle


ROOT = PACKAGE.parents[1]
# What uses atrous as anybody would. pydensecrf's modules have the names of the package that they stand in for.
FACES = [path for face in ("cli", "bulk", "video") for path in (PACKAGE / face).rglob("*.py")]
FACES += sorted((ROOT / "examples").rglob("*.py"))
ANYWHERE = ("atrous.pydensecrf", "atrous.errors", "atrous.cli")


def is_public(module: str, name: str) -> bool:
    """Whether a package exports a name by `__all__`."""
    path = PACKAGE.parent.joinpath(*module.split("."), "__init__.py")
    if not path.is_file():
        return False
    assigned = [
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return any(name in ast.literal_eval(value) for value in assigned)


def of_others(path: Path, module: str) -> bool:
    """Whether an imported module is another package's; private ones beside the packages are everybody's."""
    own = ".".join(("atrous", *path.relative_to(PACKAGE).parts[:1])) if path.is_relative_to(PACKAGE) else "atrous.none"
    return f"{module}.".startswith("atrous.") and not f"{module}.".startswith((f"{own}.", "atrous._", "atrous.web."))


@pytest.mark.parametrize("path", FACES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_faces_import_public_names_alone(path):
    private = [
        f"{module}.{name}"
        for module, name in imports(path)
        if name
        and of_others(path, module)
        and not module.startswith(ANYWHERE)
        and not is_public(module, name)
        and not (module == "atrous" and name.startswith("_"))
    ]
    assert private == []


def test_docs_import_public_names_alone():
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
    taught = [
        (module, name.strip().split(" as ")[0])
        for page in pages
        for module, names in re.findall(r"^from (atrous[\w.]*) import ([\w, ]+)", page, re.MULTILINE)
        for name in names.split(",")
    ]
    assert len(taught) > 20
    assert [each for each in taught if not each[0].startswith(ANYWHERE) and not is_public(*each)] == []


@pytest.mark.parametrize("package", sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py")))
def test_public_names_are_there(package):
    module = pytest.importorskip(f"atrous.{package}", exc_type=ImportError)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


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
        assert "install the extra 'train' (pip install '.[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
