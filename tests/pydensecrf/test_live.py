"""Beside pydensecrf itself, where it is installed: larger problems, photographs, its own names."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from cases import large_cases, solve
from PIL import Image

dcrf = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
PHOTOS = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))


@pytest.mark.parametrize("case", large_cases(12, 60), ids=lambda case: case.name)
def test_marginals(case):
    np.testing.assert_allclose(solve("atrous.pydensecrf", case), solve("pydensecrf", case), rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("labels", [2, 21])
def test_photographs(path, labels):
    with Image.open(path) as opened:
        image = np.array(opened.convert("RGB").resize((125, 93)))
    rng = np.random.default_rng(labels)
    scores = rng.random((labels, 10, 13)).repeat(10, axis=1).repeat(10, axis=2)[:, :93, :125]
    unary = np.ascontiguousarray(4 * scores.reshape(labels, -1), np.float32)

    def marginals(module):
        crf = import_module(f"{module}.densecrf").DenseCRF2D(125, 93, labels)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
        return np.array(crf.inference(5))

    np.testing.assert_allclose(marginals("atrous.pydensecrf"), marginals("pydensecrf"), rtol=0, atol=1e-4)


@pytest.mark.parametrize("part", ["densecrf", "eigen", "utils"])
def test_every_public_name_is_here(part):
    theirs, ours = import_module(f"pydensecrf.{part}"), import_module(f"atrous.pydensecrf.{part}")
    imported = {"Number", "np", "warning"}
    assert {name for name in dir(theirs) if not name.startswith("_")} - imported <= set(dir(ours))
    for name in ("DenseCRF", "DenseCRF2D"):
        if hasattr(theirs, name):
            methods = {method for method in dir(getattr(theirs, name)) if not method.startswith("_")}
            assert methods == {method for method in dir(getattr(ours, name)) if not method.startswith("_")}


def test_constants():
    ours = import_module("atrous.pydensecrf.densecrf")
    for kind in ("KernelType", "NormalizationType"):
        expected = {constant.name: int(constant) for constant in getattr(dcrf, kind)}
        assert {constant.name: int(constant) for constant in getattr(ours, kind)} == expected
        assert {name: int(getattr(ours, name)) for name in expected} == expected


@pytest.mark.filterwarnings("ignore:s(chan|dims). got:UserWarning")
def test_utils_give_the_same_bits():
    theirs, ours = import_module("pydensecrf.utils"), import_module("atrous.pydensecrf.utils")
    rng = np.random.default_rng(0)
    labels = (5 * rng.random((6, 7))).astype(int)
    probabilities = rng.dirichlet(np.ones(4), (6, 7)).transpose(2, 0, 1).astype(np.float32)
    image = (255 * rng.random((6, 7, 3))).astype(np.uint8)
    calls = [
        ("unary_from_labels", (labels, 4, 0.7)),
        ("unary_from_labels", (labels, 5, 0.6, False)),
        ("unary_from_labels", (labels, 5, 0.6, None)),
        ("unary_from_labels", (labels > 2, 2, 0.6)),
        ("unary_from_labels", ((labels - labels.min() + 1).astype(np.int8), 5, 0.6)),
        ("compute_unary", (labels, 4)),
        ("unary_from_softmax", (probabilities,)),
        ("unary_from_softmax", (probabilities.astype(np.float64), 0.8, 0.01)),
        ("unary_from_softmax", (probabilities, 0.3)),
        ("softmax_to_unary", (probabilities, 0.9)),
        ("softmax_to_unary", (probabilities,)),
        ("create_pairwise_gaussian", ((3, 1.7), (6, 7))),
        ("create_pairwise_gaussian", ((3, 1.7, 0.3), (6, 7, 2))),
        ("create_pairwise_bilateral", ((3, 1.7), (13, 0.1, 7), image, 2)),
        ("create_pairwise_bilateral", ((3, 1.7, 2), (0.3,), image)),
        ("create_pairwise_bilateral", (np.array([3, 1.7]), 0.3, image, 0)),
        ("create_pairwise_bilateral", ((25, 25), (0.05, 0.05), image / np.float32(255), 2)),
        ("create_pairwise_bilateral", ((25, 25), (), image.transpose(2, 0, 1), -3)),
        ("create_pairwise_bilateral", ((3, 1.7), 13, image > 99)),
        ("create_pairwise_bilateral", ((np.inf, 3), (5, np.inf, -5), image.astype(np.int64), 2)),
    ]
    for name, arguments in calls:
        expected, got = (getattr(module, name)(*arguments) for module in (theirs, ours))
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected, err_msg=name)
