import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.training.losses import CrfLoss, Criterion, mixed_targets


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


def halves(side=65):
    """Return a crop with a dark left and a bright right half, minus the mean pixel; its lower third is outside."""
    images = torch.full((1, 3, side, side), -80.0)
    images[..., side // 2 :] = 90.0
    images[:, :, 2 * side // 3 :] = 0.0
    return images


def test_the_crf_loss_is_low_for_labels_along_edges():
    column = torch.arange(9)
    along = torch.where(column < 4, 9.0, -9.0).expand(1, 9, 9)
    across = along.mT.contiguous()
    loss = CrfLoss(0.5)

    def of(scores):
        return loss.total(torch.stack([scores, -scores], 1), halves()).item()

    assert of(torch.full((1, 9, 9), 9.0)) == pytest.approx(0, abs=1e-4)
    assert of(along) == pytest.approx(0, abs=1e-3)
    assert 0.05 < of(across) < 0.5
    # Cells outside the image do not count.
    outside = along.clone()
    outside[:, 6:] = -outside[:, 6:]
    assert of(outside) == pytest.approx(of(along), abs=1e-6)


def test_the_crf_loss_pulls_an_unlabeled_cell_to_its_like():
    scores = torch.where(torch.arange(9) < 4, 2.0, -2.0).expand(9, 9).clone()
    scores[3, 1] = 0.0
    both = torch.stack([scores, -scores])[None].requires_grad_()
    CrfLoss(1.0).total(both, halves()).backward()
    assert both.grad[0, 0, 3, 1] < 0 < both.grad[0, 1, 3, 1]


def test_the_crf_loss_sums_over_crops():
    generator = torch.Generator().manual_seed(0)
    scores, images = torch.randn(3, 2, 9, 9, generator=generator), halves().repeat(3, 1, 1, 1)
    parts = sum(CrfLoss(0.3).total(scores[i : i + 1], images[:1]) for i in range(3))
    assert CrfLoss(0.3).total(scores, images).item() == pytest.approx(float(parts), rel=1e-5)
