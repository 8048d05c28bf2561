import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.errors import InputError
from atrous.evaluation.bootstrap import Scored, differences, paired_bootstrap
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.run_info import RunInfo
from atrous.evaluation.text_report import as_json
from atrous.segmenter import Segmenter

SHA = "0" * 64


def counts(*images):
    """[(hits, union) of each class] of each image, as (N, 2, C)."""
    return np.array(images, np.int64).transpose(0, 2, 1)


def slow_mean_iou(drawn):
    """Of images (n, 2, C): the mean over the classes that occur."""
    hits, unions = drawn.sum(axis=0)
    return np.mean([h / u for h, u in zip(hits, unions, strict=True) if u])


def test_the_scores_are_those_of_all_images_together():
    ours = counts([(8, 10), (0, 0)], [(5, 10), (2, 8)])
    theirs = counts([(6, 10), (0, 0)], [(5, 10), (4, 8)])
    found = paired_bootstrap(ours, theirs)
    # Ours: 13 / 20 and 2 / 8; theirs: 11 / 20 and 4 / 8.
    assert found.ours == pytest.approx((0.65 + 0.25) / 2)
    assert found.theirs == pytest.approx((0.55 + 0.5) / 2)
    assert found.gain == pytest.approx(found.ours - found.theirs)
    # Only three kinds of draw: the first twice (+0.2), the second twice (-0.125), both (-0.075).
    assert (found.low, found.high) == (pytest.approx(-0.125), pytest.approx(0.2))


def test_the_interval_is_that_of_draws_one_by_one():
    random = np.random.default_rng(1)
    unions = random.integers(0, 50, (30, 4)) * (random.random((30, 4)) < 0.4)
    ours, theirs = (np.stack([random.binomial(unions, p), unions], axis=1) for p in (0.7, 0.6))
    slow = []
    for _ in range(3000):
        drawn = random.integers(0, 30, 30)
        slow.append(slow_mean_iou(ours[drawn]) - slow_mean_iou(theirs[drawn]))
    found = paired_bootstrap(ours, theirs, draws=3000)
    low, high = np.quantile(slow, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)
    assert found.low < found.gain < found.high


def test_it_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        gains = random.normal(0, 30, 60).round().astype(int)
        theirs = counts(*[[(500, 1000)]] * 60)
        ours = theirs + np.stack([gains, np.zeros(60, int)], axis=1)[:, :, None]
        found = paired_bootstrap(ours, theirs, draws=400)
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


@settings(deadline=None, max_examples=20)
@given(arrays(np.int64, (5, 2, 3), elements=st.integers(0, 9)), st.integers(1, 1200))
def test_the_same_scores_do_not_differ_and_the_other_way_round_is_the_opposite(some, draws):
    some[:, 1] += some[:, 0]
    some[0, 1, 0] += 1
    same = paired_bootstrap(some, some, draws=draws)
    assert same.gain == same.low == same.high == 0
    worse = some.copy()
    worse[:, 0] //= 2
    there, back = (paired_bootstrap(*both, draws=draws) for both in ((some, worse), (worse, some)))
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert there.low >= 0


def test_what_does_not_fit_is_said():
    some = np.ones((4, 2, 3), np.int64)
    with pytest.raises(InputError, match=r"one shape, got \(4, 2, 3\), \(3, 2, 3\)"):
        paired_bootstrap(some, some[:3])
    with pytest.raises(InputError, match="expected labeled pixels, got none"):
        paired_bootstrap(0 * some, 0 * some)


def test_written_and_read_again_scores_compare_as_before(engine, samples, tmp_path):
    result = evaluate(Segmenter(engine), samples)
    run = RunInfo("data", "val", SHA, 6, None, {"model": "mine"}, (), "2026-01-02T03:04:05+00:00", 2.0, 1, 1, 1)
    path = tmp_path / "scores.json"
    path.write_text(as_json(result, run))
    there, here = Scored.read(path), Scored.of(result, SHA)
    there.check_comparable(here.sha256, result.classes, result.labelings)
    assert there.overlaps.keys() == {"network alone", "with CRF"}
    for name, overlaps in here.overlaps.items():
        np.testing.assert_array_equal(there.overlaps[name], overlaps)
        hits, unions = overlaps.sum(axis=0)
        np.testing.assert_allclose(hits / unions, result.confusion(name).iou())
    found = differences(here, there)
    assert [found[name].ours for name in result.labelings] == [result.dcnn.mean_iou(), result.crf.mean_iou()]
    assert found["network alone"].low == found["network alone"].high == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: "", "expected scores"),
        (lambda d: "[1, 2]", "expected scores"),
        (lambda d: json.dumps({**d, "classes": ["a"]}), "expected scores"),
        (lambda d: json.dumps({**d, "per_image": [{"name": "x"}]}), "older version"),
    ],
)
def test_what_is_no_file_of_scores_is_said(change, says, tmp_path):
    row = {"overlaps": {"network alone": {"b": [1, 2]}}}
    path = tmp_path / "scores.json"
    document = {"classes": ["a", "b"], "labelings": {"network alone": {}}, "run": {"sha256": SHA}, "per_image": [row]}
    path.write_text(json.dumps(document))
    assert Scored.read(path).overlaps["network alone"].tolist() == [[[0, 1], [0, 2]]]
    path.write_text(change(document))
    with pytest.raises(InputError, match=rf"scores\.json: .*{says}") as error:
        Scored.read(path)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"nowhere\.json: cannot be read"):
        Scored.read(tmp_path / "nowhere.json")


def test_only_like_is_compared_with_like():
    scored = Scored("x.json", SHA, ("a", "b"), {"network alone": np.ones((1, 2, 2), np.int64)})
    with pytest.raises(InputError, match=r"x\.json: .* the same images"):
        scored.check_comparable("1" * 64, ("a", "b"), ("network alone",))
    with pytest.raises(InputError, match="the same classes"):
        scored.check_comparable(SHA, ("a", "c"), ("network alone",))
    with pytest.raises(InputError, match="maps.* got network alone"):
        scored.check_comparable(SHA, ("a", "b"), ("maps",))
