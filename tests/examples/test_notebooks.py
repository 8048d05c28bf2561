"""The notebooks run from their first cell to the last, and are stored without outputs."""

import ast
import json
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def execute(code, names):
    """Run a cell and return what a notebook shows: its last expression's picture or text."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    value = None if last is None else eval(compile(last, "cell", "eval"), names)
    return value._repr_png_() if hasattr(value, "_repr_png_") else repr(value)


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["crf_for_your_network", "photos"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_stored(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert {(cell["execution_count"], tuple(cell["outputs"])) for cell in cells(path, "code")} == {(None, ())}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_all_cells_run(path, tmp_path, monkeypatch):
    for photo in EXAMPLES.glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    names = {"__name__": "__main__"}
    shown = [execute("".join(cell["source"]), names) for cell in cells(path, "code")]
    pictures = [each for each in shown if isinstance(each, bytes)]
    assert len(pictures) >= 3
    assert all(each.startswith(b"\x89PNG") for each in pictures)
    assert not any("\n" in each for each in shown if isinstance(each, str) and each.startswith("<"))
    if path.stem == "photos":
        assert len(list(Path("out").glob("*.png"))) == 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = "".join(line for cell in cells(path, "markdown") for line in cell["source"])
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    assert targets
    assert [target for target in targets if not (path.parent / target).is_file()] == []
