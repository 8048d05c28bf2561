import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.backends import OnnxEngine
from atrous.crf import Bilateral, Spatial
from atrous.data.metadata import CrfParameters
from atrous.errors import InputError
from atrous.segmenter import Segmentation, Segmenter
from atrous.segmenter.result import most_probable

KINDS = ["model", "deeplab-largefov", None, CrfParameters(weight=4, sxy=20, srgb=5), [Spatial(weight=3, sxy=3)]]


def square(labels):
    """Share of the red square's pixels that are labeled so, and of the others."""
    return (labels[16:48, 24:72] == 1).mean(), np.delete((labels == 1).ravel(), inside(labels.shape)).mean()


def inside(shape):
    return np.ravel_multi_index(np.mgrid[16:48, 24:72], shape).ravel()


@pytest.mark.parametrize(
    ("crf", "says"),
    [("model", "sxy 60"), (None, "no CRF"), ("deeplab-largefov", "sxy=121"), ([Spatial(weight=3, sxy=2)], "Spatial")],
)
def test_a_line_about_it(tiny_model, crf, says):
    line = repr(Segmenter(tiny_model, crf=crf, max_side=99, engine="onnxruntime"))
    for part in ("tiny.onnx on ONNX Runtime (cpu)", "3 classes", "99", says):
        assert part in line
    assert "\n" not in line


def test_a_line_about_an_engine_of_the_caller(tiny_model):
    class Own:
        metadata = Segmenter(tiny_model).engine.metadata

    assert repr(Segmenter(Own())).startswith("<Segmenter Own on Own: 3 classes")


def test_the_crf_follows_the_edges(tiny_model, red_square):
    result = Segmenter(tiny_model)(red_square)
    assert square(result.labels) == (1, 0)
    on, off = square(result.dcnn_labels)
    assert on < 1 or off > 0  # the network alone sees every eighth pixel
    assert result.labels.dtype == np.uint8
    assert result.probabilities.shape == (3, 64, 96)
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, rtol=1e-5)
    assert result.classes == ("background", "red", "blue")
    assert result.shares() == pytest.approx({"background": 0.75, "red": 0.25})
    assert list(result.shares()) == ["background", "red"]


@pytest.mark.parametrize("crf", KINDS)
def test_any_crf(tiny_model, red_square, crf):
    result = Segmenter(tiny_model, crf=crf)(red_square)
    assert square(result.labels)[0] > 0.7
    if crf is None:
        assert np.array_equal(result.labels, result.dcnn_labels)
        assert result.probabilities[2].max() > 0  # all classes are there


def test_a_call_is_its_parts(tiny_model, red_square):
    segmenter = Segmenter(tiny_model)
    parts = segmenter.refine(red_square, segmenter.probabilities(red_square))
    np.testing.assert_allclose(segmenter(red_square).probabilities, parts, atol=1e-6)


def test_the_crf_of_a_large_photo_runs_on_means(tiny_model, red_square):
    height, width, _ = red_square.shape
    whole, half = (Segmenter(tiny_model, max_crf_pixels=most)(red_square) for most in (None, height * width - 1))
    assert (whole.reduction, half.reduction) == (1, 2)
    assert half.labels.shape == whole.labels.shape
    assert np.mean(half.labels != whole.labels) < 0.02
    with pytest.raises(InputError, match="max_crf_pixels"):
        Segmenter(tiny_model, max_crf_pixels=0)


def test_a_noisy_photo_is_sharpened_at_half_its_size(tiny_model, red_square, monkeypatch):
    rng = np.random.default_rng(0)
    noisy = np.clip(red_square + rng.normal(0, 20, red_square.shape), 0, 255).astype(np.uint8)
    segmenter = Segmenter(tiny_model)
    whole = segmenter(noisy)
    assert whole.reduction == 1
    monkeypatch.setattr("atrous.segmenter.segmenter.most_vertices", lambda image, kernels: image.size // 3)
    assert segmenter(red_square).reduction == 1
    result = segmenter(noisy)
    assert result.reduction == 2
    assert result.probabilities.shape == whole.probabilities.shape
    np.testing.assert_allclose(result.probabilities.sum(axis=0), 1, rtol=1e-5)
    assert square(result.labels)[0] > 0.95
    assert np.mean(result.labels != whole.labels) < 0.05
    refined = segmenter.refine(noisy, segmenter.probabilities(noisy))
    assert np.mean(refined.argmax(axis=0) != result.labels) < 0.02


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
def test_memory_on_noise_is_bounded(tiny_model):
    """4 megapixels of noise, whose lattice would take 2 GB."""
    code = (
        "import resource, sys, numpy as np; from atrous.segmenter import Segmenter;"
        "noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8);"
        "print(Segmenter(sys.argv[1])(noise).reduction, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run([sys.executable, "-c", code, tiny_model], check=True, capture_output=True, text=True)
    reduction, kilobytes = map(int, run.stdout.split())
    assert reduction == 2
    assert kilobytes < 1_000_000


def test_paths_pil_images_and_arrays_are_the_same(tiny_model, red_square, tmp_path):
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    segmenter = Segmenter(tiny_model)
    expected = segmenter(red_square).labels
    for photo in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(red_square)):
        assert np.array_equal(segmenter(photo).labels, expected)


def test_threads_do_not_change_the_result(tiny_model, red_square):
    one, two = (Segmenter(tiny_model, threads=t)(red_square) for t in (1, 2))
    assert np.array_equal(one.probabilities, two.probabilities)


def test_a_large_photo_is_scaled_for_the_network_and_refined_at_its_own_size(tiny_model, red_square):
    seen = []

    class Spy(OnnxEngine):
        def scores(self, image):
            seen.append(image.shape)
            return super().scores(image)

    large = red_square.repeat(5, axis=0).repeat(5, axis=1)
    result = Segmenter(Spy(tiny_model), max_side=96)(large)
    assert seen == [(64, 96, 3)]
    assert result.labels.shape == (320, 480)
    # The edges are the large photo's own to the pixel: no shift, no block of the small image.
    assert (result.labels[80:240, 120:360] == 1).all()
    assert (result.labels == 1).sum() == 160 * 240
    assert set(result.kept) <= {0, 1, 2}


def test_sxy_grows_with_the_photo(tiny_model, red_square, monkeypatch):
    given = []
    genuine = atrous.DenseCRF

    def spy(image, kernels, **options):
        given.append(kernels)
        return genuine(image, kernels, **options)

    monkeypatch.setattr("atrous.segmenter.segmenter.DenseCRF", spy)
    large = red_square.repeat(2, axis=0).repeat(2, axis=1)
    Segmenter(tiny_model, max_side=96)(large)
    Segmenter(tiny_model, max_side=96, crf=[Bilateral(weight=1, sxy=(10, 20), srgb=5)])(large)
    assert given[0] == [Spatial(weight=3, sxy=6), Bilateral(weight=4, sxy=120, srgb=5)]
    assert given[1] == [Bilateral(weight=1, sxy=(20, 40), srgb=5)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (700, 2)])
def test_odd_shapes(tiny_model, shape):
    result = Segmenter(tiny_model)(np.zeros((*shape, 3), np.uint8))
    assert result.labels.shape == shape
    assert result.overlay().size == shape[::-1]


def test_save(tiny_model, red_square, tmp_path):
    result = Segmenter(tiny_model)(red_square)
    assert result.save(tmp_path / "new", probabilities=True) == tmp_path / "new/segmentation.png"
    names = ["segmentation.overlay.jpg", "segmentation.png", "segmentation.probabilities.npy"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == names
    with Image.open(tmp_path / "new/segmentation.png") as mask:
        assert np.array_equal(np.asarray(mask), result.labels)
        assert mask.mode == "P"
    stored = np.load(tmp_path / "new/segmentation.probabilities.npy")
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, result.probabilities, atol=1e-3)


def test_nothing_is_written_if_one_file_fails(tiny_model, red_square, tmp_path, monkeypatch):
    result = Segmenter(tiny_model)(red_square)
    monkeypatch.setattr(Segmentation, "overlay", lambda self, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        result.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_photo_is_never_replaced_by_its_mask(tiny_model, red_square, tmp_path):
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    result = Segmenter(tiny_model)(tmp_path / "photo.png")
    with pytest.raises(InputError, match="image itself"):
        result.save(tmp_path)
    assert Image.open(tmp_path / "photo.png").mode == "RGB"


def test_most_probable_is_argmax():
    planes = np.random.default_rng(0).integers(0, 3, (5, 20, 30)).astype(np.float32)
    assert np.array_equal(most_probable(planes), planes.argmax(axis=0))
    assert np.array_equal(most_probable(planes, np.arange(5) * 2), planes.argmax(axis=0) * 2)


@pytest.mark.parametrize("options", [{"max_side": 0}, {"threads": 0}, {"crf": "deeplab-none"}, {"crf": 3}])
def test_arguments_are_checked(tiny_model, options):
    with pytest.raises(InputError):
        Segmenter(tiny_model, **options)


def test_a_checkpoint_without_pytorch_names_the_extra(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("atrous.network")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="extra 'train'"):
        Segmenter(tmp_path)


def test_the_package_offers_it(tiny_model):
    assert atrous.Segmenter is Segmenter


def test_classes_that_the_crf_pruned_are_not_kept(tiny_model, red_square):
    result = Segmenter(tiny_model)(red_square)
    assert set(np.unique(result.labels)) <= set(result.kept)
    assert len(result.planes) == len(result.kept)
    np.testing.assert_array_equal(result.probabilities[result.kept], result.planes)
    unpruned = Segmenter(tiny_model, crf=[Spatial(weight=3, sxy=3, compatibility=1 - np.eye(3))])(red_square)
    assert unpruned.kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize("compatibility", [[1, 1, 1], 1 - np.eye(3)])
def test_large_photos_with_a_compatibility_for_each_class(tiny_model, red_square, compatibility):
    large = red_square.repeat(3, axis=0).repeat(3, axis=1)
    result = Segmenter(tiny_model, max_side=96, crf=[Spatial(weight=1, sxy=1, compatibility=compatibility)])(large)
    plain = Segmenter(tiny_model, max_side=96, crf=[Spatial(weight=1, sxy=1)])(large)
    assert np.array_equal(result.labels, plain.labels)


def test_the_crf_of_an_image_serves_many_unaries(tiny_model, red_square):
    segmenter = Segmenter(tiny_model)
    probabilities = segmenter.probabilities(red_square)
    crf = segmenter.dense_crf(red_square)
    np.testing.assert_array_equal(crf(probabilities), segmenter.refine(red_square, probabilities))
    with pytest.raises(InputError, match="crf=None"):
        Segmenter(tiny_model, crf=None).dense_crf(red_square)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_segmenter_goes_to_another_process(tiny_model, red_square, engine):
    pytest.importorskip(engine)
    segmenter = Segmenter(tiny_model, engine=engine, threads=1, max_side=64, crf=KINDS[3])
    again = pickle.loads(pickle.dumps(segmenter))
    assert (type(again.engine), again.engine.threads, again.max_side) == (type(segmenter.engine), 1, 64)
    assert again.crf == segmenter.crf
    assert again.engine.metadata == segmenter.engine.metadata
    assert np.array_equal(again(red_square).probabilities, segmenter(red_square).probabilities)


def test_a_pool_of_spawned_processes(tiny_model, red_square):
    segmenter = Segmenter(tiny_model, threads=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (result,) = pool.map(segmenter, [red_square])
    assert np.array_equal(result.labels, segmenter(red_square).labels)


@pytest.mark.parametrize("use", ["segment", "probabilities", "dense_crf"])
def test_a_decoded_photo_of_another_kind_is_refused(tiny_model, red_square, use):
    segmenter = Segmenter(tiny_model)
    for image in (red_square / 255, red_square[..., 0], red_square[..., [0, 1, 2, 2]], red_square.transpose(2, 0, 1)):
        with pytest.raises(InputError, match="uint8"):
            getattr(segmenter, use)(image)
    with pytest.raises(InputError, match="got Image"):
        getattr(segmenter, use)(Image.fromarray(red_square))


@pytest.mark.parametrize("argument", ["max_side", "threads"])
def test_numbers_that_are_none(tiny_model, argument):
    for value in ("2", 1.5, True, 0, *([2**31] if argument == "threads" else [])):
        with pytest.raises(InputError, match=f"{argument}.*: expected"):
            Segmenter(tiny_model, **{argument: value})
