import numpy as np
import pytest

from atrous.crf import Bilateral, DenseCRF, refine
from atrous.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((12, 20), (9, 31), (17, 24))]
PROBABILITIES = [RNG.dirichlet((1, 1, 1), image.shape[:2]).astype(np.float32).transpose(2, 0, 1) for image in IMAGES]
KERNELS = [Bilateral(weight=4, sxy=5, srgb=20)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_different_images_are_refined_as_one_by_one(threads):
    found = refine(IMAGES, PROBABILITIES, KERNELS, iterations=3, threads=threads)
    for image, p, q in zip(IMAGES, PROBABILITIES, found, strict=True):
        assert np.array_equal(q, DenseCRF(image, KERNELS, iterations=3)(p))
    assert refine([], [], KERNELS) == []


def test_the_image_that_cannot_be_used_is_named():
    with pytest.raises(InputError, match=r"image 1: .*transpose\(1, 2, 0\)"):
        refine([IMAGES[0], IMAGES[1].transpose(2, 0, 1)], PROBABILITIES[:2], KERNELS)
    with pytest.raises(InputError, match="expected 3.*got 2"):
        refine(IMAGES, PROBABILITIES[:2], KERNELS)
    with pytest.raises(InputError, match=r"images: .*\[image\]"):
        refine(IMAGES[0], PROBABILITIES[0], KERNELS)


@pytest.mark.parametrize("image", [IMAGES[0].transpose(2, 0, 1), IMAGES[0].transpose(2, 0, 1)[None]])
def test_channels_come_last(image):
    with pytest.raises(InputError, match=r"channels last: .*image\.transpose\(1, 2, 0\)"):
        DenseCRF(image, KERNELS)


def test_several_images_are_no_volume():
    with pytest.raises(InputError, match=r"got 3; .*refine"):
        DenseCRF(IMAGES, KERNELS)


LABELS = np.array([[0, 0, 2, 2], [0, 255, 2, 1]], np.uint8)
GRAY = np.arange(8.0).reshape(2, 4)


def test_labels_instead_of_probabilities():
    crf = DenseCRF(GRAY, [], iterations=0)
    q = crf(labels=LABELS, confidence=0.8)
    assert q.shape == (3, 2, 4)
    np.testing.assert_allclose(q[:, 0, 2], [0.1, 0.1, 0.8], rtol=1e-6)
    np.testing.assert_allclose(q[:, 1, 1], [1 / 3] * 3, rtol=1e-6)
    assert crf.labels(labels=LABELS)[LABELS != 255].tolist() == LABELS[LABELS != 255].tolist()
    np.testing.assert_array_equal(crf.infer(labels=LABELS, confidence=0.8).probabilities, q)
    np.testing.assert_array_equal(crf(labels=np.stack([LABELS, LABELS]), confidence=0.8), [q, q])
    np.testing.assert_allclose(crf(labels=LABELS == 2)[1], np.where(LABELS == 2, 0.7, 0.3), rtol=1e-6)
    np.testing.assert_array_equal(crf(labels=(LABELS == 2).astype(float)), crf(labels=LABELS == 2))


@pytest.mark.parametrize("empty", [np.zeros((2, 4), bool), np.zeros((2, 4), np.uint8), np.zeros((2, 4))])
def test_an_empty_mask_stays_empty(empty):
    crf = DenseCRF(GRAY, [])
    assert crf(labels=empty).shape == (2, 2, 4)
    assert not crf.labels(labels=empty).any()


def test_labels_of_a_tensor_give_a_tensor():
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    q = DenseCRF(GRAY, [], iterations=0)(labels=torch.from_numpy(LABELS))
    assert (q.dtype, tuple(q.shape)) == (torch.float32, (3, 2, 4))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": LABELS, "confidence": 0.3}, "confidence 0.3: .*0.333"),
        ({"labels": LABELS[:1]}, r"labels: .*\(2, 4\).*\(1, 4\)"),
        ({"labels": LABELS * 0.5}, r"labels: .*float64.*np\.stack\(\[1 - p, p\]\)"),
        ({"labels": np.uint8(255) * (LABELS == 2)}, "labels: .*mask == 255"),
        ({"labels": LABELS.astype(int) - 1}, "labels: .*-1"),
        ({"labels": LABELS, "energies": LABELS}, "got 2"),
        ({"probabilities": LABELS}, "labels="),
        ({"probabilities": np.full((2, 4), 0.5)}, r"np\.stack\(\[1 - p, p\]\)"),
        ({"probabilities": np.full((1, 2, 4), 0.5)}, r"\[1 - p, p\], axis=-3"),
    ],
)
def test_what_is_no_label_is_one_line(given, says):
    with pytest.raises(InputError, match=says) as caught:
        DenseCRF(GRAY, [])(**given)
    assert "\n" not in str(caught.value)
