import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.training.losses import Criterion, mixed_targets


def test_loss_is_the_mean_over_labeled_cells():
    scores = torch.tensor([[[[2.0, 0.0, 5.0]], [[0.0, 1.0, 5.0]]]])  # two classes, three cells
    labels = torch.tensor([[[0, 1, 255]]])
    one, two = np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0))
    assert Criterion().total(scores, labels).item() == pytest.approx(one + two)
    assert Criterion().cells(labels) == 2
    weights = torch.tensor([3.0, 0.5])
    assert Criterion(weights).total(scores, labels).item() == pytest.approx(3 * one + 0.5 * two)
    assert Criterion(weights).cells(labels) == 3.5
    assert Criterion().total(scores, torch.full((1, 1, 3), 255)).item() == 0


# Three cells of the image: labels 0, 1 and void; one column and one row of padding.
LABELS = torch.tensor([[0, 1, 255, 255], [255, 255, 255, 255]])
SOFT = torch.tensor([[[0.5, 0.25, 0.9]], [[0.5, 0.75, 0.1]]])


def test_soft_targets_are_mixed_with_labels():
    targets = mixed_targets(LABELS, SOFT, 0.5)
    expected = [[0.75, 0.125, 0.45, 0], [0, 0, 0, 0]], [[0.25, 0.875, 0.05, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(targets, expected, atol=1e-7)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_ends_are_labels_alone_and_soft_targets_alone(weight):
    targets = mixed_targets(LABELS, SOFT, weight)
    expected = [[1, 0, 0, 0], [0, 1, 0, 0]] if weight == 0 else [[0.5, 0.25, 0.9, 0], [0.5, 0.75, 0.1, 0]]
    np.testing.assert_allclose(targets[:, 0], expected, atol=1e-7)


def test_one_hot_targets_give_the_loss_of_label_maps():
    scores = torch.randn(1, 2, 2, 4, generator=torch.Generator().manual_seed(0))
    targets = mixed_targets(LABELS, SOFT, 0.0)[None]
    weights = torch.tensor([3.0, 0.5])
    for given in (None, weights):
        hard = Criterion(given).total(scores, LABELS[None])
        assert Criterion(given).total(scores, targets).item() == pytest.approx(hard.item())
        assert Criterion(given).cells(targets) == pytest.approx(Criterion(given).cells(LABELS[None]))


def test_soft_loss_is_the_cross_entropy_of_each_cell():
    scores = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    targets = torch.tensor([[[[0.75, 0.1]], [[0.25, 0.4]]]])
    log = torch.log_softmax(scores, dim=1)
    assert Criterion().total(scores, targets).item() == pytest.approx(-(targets * log).sum().item())
    assert Criterion().cells(targets) == pytest.approx(1.5)
