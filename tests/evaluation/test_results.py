import numpy as np
import pytest

from atrous.errors import InputError
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.results import empty, total
from atrous.segmenter import Segmenter


def nothing_like(result):
    return empty(result.classes, result.labelings, result.widths, result.steps)


@pytest.fixture
def parts(engine, samples):
    segmenter = Segmenter(engine)
    whole = evaluate(segmenter, samples, trimap=(1, 4), mean_field_steps=(1,))
    singles = [evaluate(segmenter, [sample], trimap=(1, 4), mean_field_steps=(1,)) for sample in samples]
    placed = [
        type(single)(single.classes, single.counts, single.widths, single.steps, (whole.rows[n],))
        for n, single in enumerate(singles)
    ]
    return whole, placed


def test_parts_in_any_order_sum_to_the_whole(parts):
    whole, singles = parts
    found = total(singles[::-1], nothing_like(whole))
    assert found.rows == whole.rows
    for name in whole.labelings:
        np.testing.assert_array_equal(found.counts[name], whole.counts[name])
    np.testing.assert_array_equal(found.steps[1], whole.steps[1])


def test_an_image_counts_once(parts):
    whole, singles = parts
    with pytest.raises(InputError, match="photo2: .* two of image 2"):
        total([*singles, singles[2]], nothing_like(whole))


def test_nothing_has_no_scores():
    result = empty(("a", "b"), ("network alone",), (1, 2), ())
    assert result.images == 0
    assert np.isnan(result.dcnn.mean_iou())
    assert result.trimap("network alone") == {}
