"""benchmarks/claims.py writes docs/paper-claims.md from files of scores."""

import json
import runpy

import pytest
from code_blocks import ROOT

from atrous.data.metadata import VOC_CLASSES
from atrous.errors import InputError

SCRIPT = ROOT / "benchmarks/claims.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not here")


@pytest.fixture(scope="module")
def claims():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        return runpy.run_path(str(SCRIPT))


@pytest.fixture
def scores(tmp_path):
    """Write a file of scores in which a share of each image's pixels is right, and return its path."""

    def write(name, dcnn, crf, model="mine.onnx", images=8, parameters="weight 4"):
        found = {"network alone": dcnn, "with CRF": crf}
        subject = {"model": f"{model} (sha256 0)", "network": "net", "trained on": "train", "CRF": parameters}
        rows = []
        for size in range(1000, 1000 + 10 * images, 10):
            rows.append({"overlaps": {n: {"cat": [size - 1000 + round(1000 * v), size]} for n, v in found.items()}})
        run = {"sha256": "0" * 64, "listed": "val", "listed_images": images, "official": None, "machine": "two cores"}
        document = {
            "format": 1,
            "classes": list(VOC_CLASSES),
            "images": images,
            "run": {**run, "subject": subject},
            "labelings": {n: {"mean IoU": v, "trimap": {}} for n, v in found.items()},
            "mean_field_steps": {},
            "per_image": rows,
        }
        path = tmp_path / name
        path.write_text(json.dumps(document))
        return path

    return write


def rows(section, begin):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith(begin)]


def test_each_training_has_a_row_and_a_letter(claims, scores):
    read = claims["read_scores"]
    plain = read(scores("a.json", 0.5, 0.6, "bundled with atrous"))
    first = [read(scores("b.json", 0.4, 0.7, "b.onnx")), read(scores("c.json", 0.6, 0.6, "c.onnx"))]
    own = [read(scores("d.json", 0.4, 0.8, "d.onnx", parameters="weight 2"))]
    section = claims["text"](plain, first, own, None)
    found = rows(section, "| multi-scale prediction")
    assert [(row[0].split(", ", 1)[1], row[3]) for row in found] == [
        ("without CRF, training 1 (B): mean IoU", "A, B"),
        ("without CRF, training 2 (C): mean IoU", "A, C"),
        ("with CRF, training 1 (B): mean IoU", "A, B"),
        ("with CRF, training 2 (C): mean IoU", "A, C"),
        ("with its own CRF: mean IoU", "A, D"),
    ]
    assert found[0][2].startswith("50.00 → 40.00 (-10.00; -9.")
    assert found[3][2] == "60.00 → 60.00 (+0.00; +0.00 to +0.00)"
    assert found[4][2].startswith("60.00 → 80.00 (+20.00; +19.")
    assert rows(section, "| the CRF refines")[0][2].startswith("50.00 → 60.00 (+10.00; +9.")
    assert "- D: `atrous evaluate VOC_FOLDER --model d.onnx --json searched.json` (8 images" in section
    assert rows(section, "| LargeFOV instead of DeepLab-4x4: parameters")[0][3] == "E"


def test_multi_scale_prediction_on_another_network(claims, scores):
    read = claims["read_scores"]
    plain, trunk = read(scores("a.json", 0.7, 0.8, "bundled with atrous")), read(scores("t.json", 0.5, 0.6, "t.onnx"))
    section = claims["text"](plain, [read(scores("b.json", 0.4, 0.7, "b.onnx"))], [], None, trunk)
    found = rows(section, "| multi-scale prediction")
    assert [(row[2].split(";")[0], row[3]) for row in found] == [
        ("50.00 → 40.00 (-10.00", "B, C"),
        ("60.00 → 70.00 (+10.00", "B, C"),
        ("not measured", "B"),
    ]
    assert "- B: `atrous evaluate VOC_FOLDER --model t.onnx --json trunk.json` (8 images" in section
    assert "- C: `atrous evaluate VOC_FOLDER --model b.onnx --json multiscale.json` (8 images" in section
    assert rows(section, "| LargeFOV instead of DeepLab-4x4: parameters")[0][3] == "D"


def test_what_is_not_given_is_not_measured(claims):
    section = claims["text"](None, [], [], None)
    assert section.count("not measured") > 10
    assert "- A:" not in section


def test_scores_that_do_not_compare_are_refused(claims, scores):
    read = claims["read_scores"]
    plain, same = read(scores("a.json", 0.5, 0.6)), read(scores("b.json", 0.5, 0.6))
    with pytest.raises(InputError, match="--searched: expected another model"):
        claims["text"](plain, [], [same], None)
    path = scores("c.json", 0.5, 0.6, "c.onnx")
    path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(InputError, match="--multiscale: expected the same images"):
        claims["text"](plain, [read(path)], [], None)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"c\.json: expected scores"):
        read(path)


def test_without_each_images_counts_there_is_no_interval(claims, scores):
    path = scores("a.json", 0.5, 0.6)
    path.write_text(path.read_text().replace("overlaps", "other"))
    section = claims["text"](claims["read_scores"](path), [], [], None)
    assert rows(section, "| the CRF refines")[0][2] == "50.00 → 60.00 (+10.00)"


def test_only_what_is_between_the_markers_is_written(claims, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n\n{claims['BEGIN']}\nold\n{claims['END']}\ntail\n")
    claims["write_page"]("new", page)
    assert page.read_text() == f"# Head\n\n{claims['BEGIN']}\n\nnew\n\n{claims['END']}\ntail\n"
    page.write_text("# Head\n")
    with pytest.raises(InputError, match="markers"):
        claims["write_page"]("new", page)
