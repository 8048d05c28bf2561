import numpy as np

from atrous.evaluation.results import Evaluation, ImageScores
from atrous.evaluation.text_report import score_table, steps_table, trimap_table

NOT_A_SCORE = float("nan")


def result(*, void=(1,)):
    counts = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[4, 0, 0], [0, 0, 0], [0, 0, 0]]])
    rows = tuple(
        ImageScores(n, f"{n}", 10, v, {"network alone": 0.5}, {"network alone": NOT_A_SCORE})
        for n, v in enumerate(void)
    )
    return Evaluation(("background", "cat", "dog"), {"network alone": counts}, (2,), {1: counts[0]}, rows)


def test_scores_are_in_per_cent_and_what_has_none_is_a_dash():
    lines = score_table(result()).splitlines()
    assert [line.split() for line in lines] == [
        ["IoU", "in", "%", "network", "alone"],
        ["background", "87.50"],
        ["cat", "66.67"],
        ["dog", "-"],
        ["mean", "IoU", "77.08"],
        ["pixel", "accuracy", "90.00"],
        ["class", "accuracy", "93.75"],
        ["frequency-weighted", "IoU", "83.33"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_bands_and_steps():
    assert [line.split()[-1] for line in trimap_table(result()).splitlines()] == ["2", "70.83", "83.33"]
    assert [line.split()[-1] for line in steps_table(result()).splitlines()] == ["1", "70.83", "83.33"]


def test_images_without_void_are_counted():
    assert trimap_table(result(void=(0, 0))).startswith("no trimap: no label map has void pixels")
    lines = trimap_table(result(void=(0, 7, 0))).splitlines()
    assert lines[3:] == ["images without void pixels and thus without a band: 2 of 3"]
