import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import blurred_regions, random_image

from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.crf.tune.scorer import LabeledImage, TrialScorer, hits_and_unions, mean_iou
from atrous.crf.tune.search import search
from atrous.errors import InputError

# For searches on a made-up landscape.
ANY = (np.zeros((4, 4, 3), np.uint8), np.full((2, 4, 4), 0.5), np.zeros((4, 4), np.uint8))

GRID = {"weights": [3, 6], "sxys": [8, 16], "srgbs": [6, 12]}


def scene(seed, height=24, width=40, labels=3):
    """An image, blurred scores of its regions, and as truth what a sharp CRF makes of them, with some void."""
    rng = np.random.default_rng(seed)
    image = random_image(rng, height, width)
    probabilities = blurred_regions(image, rng, labels)
    truth = DenseCRF(image, [Spatial(weight=1, sxy=2), Bilateral(weight=6, sxy=16, srgb=12)]).labels(probabilities)
    truth[:2] = 255
    return image, probabilities.astype(np.float16), truth


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(3)]


class Landscape:
    """Stands in for the CRF: mean IoU falls off from a peak."""

    def __init__(self, monkeypatch, peak):
        self.peak, self.calls = peak, []
        monkeypatch.setattr(TrialScorer, "mean_ious", lambda _, *given, **named: self.mean_ious(*given, **named))

    def mean_ious(self, sxy, srgb, weights, done=lambda n: None):
        self.calls += [(weight, sxy, srgb) for weight in weights]
        return [
            1 / (1 + sum(abs(np.log(a / b)) for a, b in zip((weight, sxy, srgb), self.peak, strict=True)))
            for weight in weights
        ]


def test_every_trial_is_what_a_dense_crf_scores(scenes):
    result = search(scenes, **GRID, refinements=0, most_moves=0)
    assert len(result.trials) == 8
    for trial in result.trials:
        counts = 0
        for image, probabilities, truth in scenes:
            kernels = [Spatial(weight=3, sxy=3), Bilateral(weight=trial.weight, sxy=trial.sxy, srgb=trial.srgb)]
            labels = DenseCRF(image, kernels).labels(probabilities.astype(np.float32))
            counts += hits_and_unions(truth.ravel(), labels.ravel(), 3)
        assert trial.mean_iou == mean_iou(counts)
    assert result.best.mean_iou == max(t.mean_iou for t in result.trials) > result.baseline
    assert result.kernels == (
        Spatial(weight=3, sxy=3),
        Bilateral(weight=result.best.weight, sxy=result.best.sxy, srgb=result.best.srgb),
    )


def test_the_counts_of_the_best_trial_by_image(scenes):
    result = search(scenes, **GRID, refinements=0, most_moves=0)
    best, alone = result.counts()
    assert best.shape == alone.shape == (len(scenes), 2, 3)
    assert mean_iou(best.sum(axis=0)) == result.best.mean_iou
    assert mean_iou(alone.sum(axis=0)) == result.baseline
    for counts, (_, probabilities, truth) in zip(alone, scenes, strict=True):
        labels = probabilities.argmax(axis=0)
        np.testing.assert_array_equal(counts, hits_and_unions(truth.ravel(), labels.ravel(), 3))


def test_the_score_is_that_of_one_confusion_matrix(rng):
    from atrous.evaluation.metrics import ConfusionMatrix

    matrix, counts = ConfusionMatrix(5), 0
    for _ in range(3):
        truth = rng.choice([0, 1, 3, 255], size=(7, 9)).astype(np.uint8)
        labels = rng.integers(0, 4, size=(7, 9)).astype(np.uint8)
        matrix.add(truth, labels)
        counts += hits_and_unions(truth.ravel(), labels.ravel(), 5)
    assert mean_iou(counts) == pytest.approx(matrix.mean_iou(), abs=1e-15)


def test_iou_by_hand():
    truth = np.array([0, 0, 1, 1, 255])
    labels = np.array([0, 1, 1, 1, 2])
    hits, unions = hits_and_unions(truth, labels, 3)
    assert hits.tolist() == [1, 2, 0]
    assert unions.tolist() == [2, 3, 0]
    assert mean_iou(np.stack([hits, unions])) == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("normalization", ["after", "symmetric", "before", "none"])
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_threads_do_not_change_the_trials(scenes, threads, normalization):
    options = {"normalization": normalization, "refinements": 0, "most_moves": 0, "iterations": 3}
    assert (
        search(scenes, **GRID, threads=threads, **options).trials == search(scenes, **GRID, threads=2, **options).trials
    )


def test_the_lattice_and_the_spatial_kernel_are_built_once_for_all_weights(scenes, monkeypatch):
    from atrous.crf.tune import scorer as scoring

    built, lock, build_term = [], threading.Lock(), scoring.build_term

    def counting(kernel, *given, **named):
        with lock:
            built.append(type(kernel))
        return build_term(kernel, *given, **named)

    monkeypatch.setattr(scoring, "build_term", counting)
    search(scenes, weights=[2, 3, 4], sxys=[8], srgbs=[6, 12], refinements=0, most_moves=0, iterations=1, threads=1)
    assert built.count(Bilateral) == 2 * len(scenes)
    assert built.count(Spatial) == 1  # all scenes are of one size


def test_the_search_grows_past_all_borders_and_then_takes_finer_steps(monkeypatch):
    # The released LargeFOV optimum lies outside the paper's first grid.
    landscape = Landscape(monkeypatch, (4, 121, 5))
    result = search([ANY])
    assert result.converged
    assert abs(result.best.weight - 4) <= 1.25
    assert abs(result.best.sxy - 121) <= 2.5
    assert result.best.srgb == 5
    assert len(landscape.calls) == len(set(landscape.calls)) == len(result.trials)
    assert set(landscape.calls[:96]) == {
        (w, xy, rgb) for w in (5, 10) for xy in range(50, 101, 10) for rgb in range(3, 11)
    }
    assert max(xy for _, xy, _ in landscape.calls) <= 140


@settings(max_examples=25, deadline=None)
@given(peak=st.tuples(st.floats(0.3, 30), st.floats(5, 300), st.floats(0.3, 40)), finer=st.integers(0, 3))
def test_the_search_ends_at_a_trial_that_no_neighbor_beats(peak, finer):
    with pytest.MonkeyPatch.context() as patch:
        landscape = Landscape(patch, peak)
        result = search([ANY], weights=[4, 8], sxys=[30, 60, 90], srgbs=[4, 8], refinements=finer, most_moves=100)
    assert result.converged
    assert all(min(call) > 0 for call in landscape.calls)
    assert len(landscape.calls) == len(set(landscape.calls))
    best = result.best
    step = 2.0**-finer
    for axis, (value, first) in enumerate(zip(best[:3], (4, 30, 4), strict=True)):
        tried = {
            call[axis] for call in landscape.calls if call[:axis] + call[axis + 1 :] == best[:axis] + best[axis + 1 : 3]
        }
        assert any(value < other <= value + first * step * 1.0001 for other in tried)
        assert any(value - first * step * 1.0001 <= other < value for other in tried)
        assert peak[axis] / 2 - first * step <= value <= peak[axis] * 2 + first * step


def test_a_single_value_stays_fixed(monkeypatch):
    landscape = Landscape(monkeypatch, (1, 50, 5))
    search([ANY], weights=[4], sxys=[40, 60], srgbs=[9])
    assert {(weight, srgb) for weight, _, srgb in landscape.calls} == {(4, 9)}
    assert len({sxy for _, sxy, _ in landscape.calls}) > 2


def test_a_search_that_never_settles_is_stopped_and_says_so(monkeypatch):
    Landscape(monkeypatch, (4, 1e6, 5))
    result = search([ANY], weights=[4], sxys=[50, 60], srgbs=[5], most_moves=7)
    assert not result.converged
    assert result.best.sxy == 60 + 7 * 10


def test_a_plateau_leads_nowhere(monkeypatch):
    monkeypatch.setattr(TrialScorer, "mean_ious", lambda _, sxy, srgb, weights, done: [0.5] * len(weights))
    result = search([ANY], **GRID, refinements=0)
    assert result.converged
    assert result.best[:3] == (3, 8, 6)
    assert len(result.trials) == 8 + 19  # the neighbors of a corner


def test_progress_tells_stages_images_and_the_best(scenes):
    told = []
    result = search(scenes, **GRID, refinements=1, progress=told.append)
    assert [(p.stage, p.done, p.total) for p in told[:3]] == [("reading", n, 3) for n in (1, 2, 3)]
    grid = [p for p in told if p.stage == "grid"]
    assert [p.done for p in grid] == [2 * n for n in range(1, 13)] + [24]
    assert [p.finished for p in grid] == [False] * 12 + [True]
    assert grid[-1].trials == 8
    assert {p.stage for p in told} >= {"reading", "grid", "finer 1"}
    assert told[-1].finished
    assert told[-1].best == result.best


def test_lazy_samples_are_read_when_needed_and_any_precision_will_do(scenes):
    class Lazy:
        def __len__(self):
            return len(scenes)

        def __getitem__(self, index):
            image, probabilities, truth = scenes[index]
            return LabeledImage(image, probabilities.astype(np.float64), truth.astype(np.int64), f"photo {index}")

    options = {**GRID, "refinements": 0, "most_moves": 0}
    assert search(Lazy(), **options).trials == search(scenes, **options).trials


def test_images_of_different_sizes(scenes):
    mixed = [scene(5, 16, 24), scene(6, 32, 16), *scenes]
    result = search(mixed, weights=[3], sxys=[10], srgbs=[8], threads=2)
    assert result.images == 5
    assert 0 < result.best.mean_iou <= 1


def with_(sample, **changed):
    return LabeledImage(*sample)._replace(**changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((24, 40), np.uint8)}, r"sample 1: image: expected \(H, W, 3\) uint8 RGB, got \(24, 40\)"),
        (
            {"probabilities": np.zeros((3, 24, 39), np.float32)},
            r"sample 1: probabilities: expected \(C, 24, 40\) floats",
        ),
        ({"probabilities": np.full((3, 24, 40), 2.5)}, "sample 1: probabilities: expected 0 to 1, got 2.5 to 2.5"),
        ({"probabilities": np.full((3, 24, 40), np.nan)}, "sample 1: probabilities: expected 0 to 1, got nan"),
        ({"probabilities": np.zeros((3, 24, 40), np.uint8)}, "sample 1: probabilities: .* uint8"),
        ({"probabilities": np.full((4, 24, 40), 0.25)}, "sample 1: probabilities: expected 3 labels .* got 4"),
        ({"probabilities": np.ones((1, 24, 40))}, "sample 1: probabilities: expected 2 to 255 labels, got 1"),
        ({"probabilities": np.eye(3)[np.arange(960).reshape(24, 40) % 3].transpose(2, 0, 1)}, "sample 1: .*0 and 1"),
        ({"mask": np.full((24, 40), 3, np.uint8)}, "sample 1: mask: expected ids from 0 to 2, or 255 .*got 3"),
        ({"mask": np.full((24, 40), -1)}, "sample 1: mask: .*got -1"),
        ({"mask": np.zeros((24, 41), np.uint8)}, r"sample 1: mask: expected \(24, 40\) label ids .*got \(24, 41\)"),
        ({"mask": np.zeros((24, 40))}, "sample 1: mask: .* float64"),
        ({"mask": np.full((24, 40), 9, np.uint8), "name": "cat.jpg"}, "^cat.jpg: mask: "),
    ],
)
def test_a_sample_that_cannot_be_used_is_named_before_the_first_trial(scenes, change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        search([scenes[0], with_(scenes[1], **change)], table=tmp_path / "trials.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": []}, "weights: expected at least one positive number"),
        ({"sxys": [0]}, "sxys: expected at least one positive number"),
        ({"srgbs": [float("nan")]}, "srgbs: "),
        ({"srgbs": ["red"]}, "srgbs: expected positive numbers"),
        ({"weights": 3}, "weights: expected positive numbers, got 3"),
        ({"refinements": -1}, "refinements: expected an integer, 0 or more, got -1"),
        ({"most_moves": 1.5}, "most_moves: expected an integer"),
        ({"iterations": -1}, "iterations: "),
        ({"threads": 0}, "threads: "),
        ({"prune": 2}, "prune: "),
        ({"normalization": "both"}, "normalization: "),
        ({"spatial_weight": -1}, "spatial_weight: expected 0 or more"),
    ],
)
def test_arguments_that_cannot_be_used(scenes, options, message):
    with pytest.raises(InputError, match=message):
        search(scenes, **options)


def test_a_kernel_that_does_not_fit_the_lattice_is_one_line(scenes):
    with pytest.raises(InputError, match="sample 0: sxy, srgb: .*standard deviations"):
        search(scenes, weights=[3], sxys=[8, 9], srgbs=[1e-6, 5])


def test_no_samples_and_nothing_labeled(scenes):
    with pytest.raises(InputError, match="samples: expected one"):
        search([])
    with pytest.raises(InputError, match="sample 0: expected \\(image, probabilities, mask\\), got str"):
        search(["photo.jpg"])
    with pytest.raises(InputError, match="got void"):
        search([with_(scenes[0], mask=np.full((24, 40), 255, np.uint8))])


def test_masks_of_0_and_255_are_no_two_classes(scenes):
    image, probabilities, mask = scenes[0]
    two = np.stack([probabilities[0], 1 - probabilities[0]])
    with pytest.raises(InputError, match="mask == 255"):
        search([(image, two, np.where(mask == 1, 255, 0).astype(np.uint8))])
