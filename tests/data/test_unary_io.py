import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from atrous.data import VOC_CLASSES, class_names, parse_array, read_probabilities
from atrous.errors import InputError


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.uint8, ">f4"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=4, max_side=5))
    ),
    st.booleans(),
)
def test_what_was_saved_is_parsed(array, by_columns):
    array = np.asfortranarray(array) if by_columns else array
    found = parse_array(saved(array), "a.npy")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        saved(np.zeros(5))[:-1],
        saved(np.zeros(5)) + b"\0",
        saved(np.zeros(5)).replace(b"(5,)", b"(-5,)"),
        saved(np.zeros(5)).replace(b"(5,), ", b"(9**9,)"),
        saved(np.array([{}, 1], dtype=object)),
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70_000,
        b"\x93NUMPY\x09\x00\x04\x00{}  ",
    ],
)
def test_what_is_no_array(content):
    with pytest.raises(InputError, match=r"^a.npy: .*numpy.save"):
        parse_array(content, "a.npy")


MASK = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.uint8)
SOFT = np.linspace(0, 1, 100, dtype=np.float32).reshape(4, 25)


def read(tmp_path, content, shape=None, confidence=None):
    path = tmp_path / ("a.png" if isinstance(content, Image.Image) else "a.npy")
    if isinstance(content, Image.Image):
        content.save(path)
    else:
        np.save(path, content)
    return read_probabilities(path, shape or content.shape[:2], confidence)


@pytest.mark.parametrize(
    "content",
    [
        Image.fromarray(MASK),
        Image.fromarray(255 * MASK),
        Image.fromarray(255 * MASK).convert("1"),
        Image.fromarray(255 * MASK).convert("RGB"),
        Image.merge("LA", [Image.fromarray(MASK), Image.fromarray(255 * MASK)]),
        MASK.astype(np.int64),
        MASK > 0,
        255 * MASK,
        MASK.astype(np.float32),
        MASK[None].astype(np.float32),
        np.stack([1.0 - MASK, MASK]),
        np.stack([1 - MASK, MASK]),
        np.stack([MASK == 0, MASK == 1]),
        255.0 * MASK,
        MASK[None],
        MASK[..., None].astype(np.float32),
    ],
)
def test_a_mask_is_background_and_foreground(tmp_path, content):
    planes, ids = read(tmp_path, content, MASK.shape, 0.8)
    assert ids.tolist() == [0, 1]
    np.testing.assert_allclose(planes[1], np.where(MASK, 0.8, 0.2), rtol=1e-6)
    assert class_names(None, 2, ids=True) == ("background", "foreground")


@pytest.mark.parametrize("empty", [np.zeros((2, 4), bool), Image.new("L", (4, 2)), np.zeros((2, 4), np.float32)])
def test_an_empty_mask_is_all_background(tmp_path, empty):
    planes, ids = read(tmp_path, empty, (2, 4))
    assert ids.tolist() == [0, 1]
    np.testing.assert_allclose(planes[0], 0.7, rtol=1e-6)


@pytest.mark.parametrize("values", [[0, 64, 128, 191, 255], [0, 128, 255], [0, 127, 255], [0, 8, 247, 255]])
@pytest.mark.parametrize("png", [False, True])
def test_smooth_edges_and_trimaps_are_shades(tmp_path, values, png):
    gray = np.array([values], np.uint8)
    planes, ids = read(tmp_path, Image.fromarray(gray) if png else gray, gray.shape)
    assert ids.tolist() == [0, 1]
    np.testing.assert_allclose(planes[1], gray / 255, atol=1e-6)


@pytest.mark.parametrize("values", [[0, 3, 181, 255], [0, 15, 255], [7, 200, 255], [0, 1, 2, 3]])
def test_ids_beside_unknown_pixels_are_no_shades(tmp_path, values):
    planes, ids = read(tmp_path, np.array([values], np.uint8), (1, 4 if len(values) == 4 else 3))
    assert ids.tolist() == [value for value in values if value != 255]
    assert planes.shape[0] == len(ids)


def test_ids_saved_as_floats_are_ids(tmp_path):
    planes, ids = read(tmp_path, np.array([[0.0, 4, 8, 255]], np.float32), (1, 4))
    assert ids.tolist() == [0, 4, 8]
    np.testing.assert_allclose(planes[1], [[0.15, 0.7, 0.15, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("transparency", [False, True])
def test_a_soft_matte_is_the_probability_of_the_foreground(tmp_path, transparency):
    matte = Image.fromarray(np.round(255 * SOFT).astype(np.uint8))
    image = Image.merge("RGBA", [Image.new("L", matte.size)] * 3 + [matte]) if transparency else matte
    planes, ids = read(tmp_path, image, SOFT.shape)
    assert ids.tolist() == [0, 1]
    np.testing.assert_allclose(planes[1], SOFT, atol=0.002)
    with pytest.raises(InputError, match="confidence=0.8"):
        read(tmp_path, image, SOFT.shape, 0.8)


def test_the_foreground_alone_and_a_batch_of_one(tmp_path):
    np.testing.assert_allclose(read(tmp_path, SOFT)[0], [1 - SOFT, SOFT], rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path, SOFT[None], SOFT.shape)[0], [1 - SOFT, SOFT], rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path, np.stack([1 - SOFT, SOFT])[None], SOFT.shape)[0][1], SOFT, rtol=1e-6)


def test_what_a_cubic_filter_overshoots_is_clipped_but_scores_are_refused(tmp_path):
    planes, _ = read(tmp_path, np.stack([1.05 - 1.1 * SOFT, 1.1 * SOFT - 0.05]), SOFT.shape)
    assert (planes.min(), planes.max()) == (0, 1)
    np.testing.assert_allclose(planes.sum(axis=0), 1, rtol=1e-6)
    with pytest.raises(InputError, match="softmax"):
        read(tmp_path, np.stack([SOFT - 0.1, SOFT]), SOFT.shape)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.npy", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.npy", b"<!DOCTYPE html><html>", "web page"),
        ("a.npy", b"", "empty"),
        ("a.pt", b"PK\3\4", "numpy.save"),
        ("a.npy", saved(np.full((2, 2, 4), 127, np.uint8)), "uint8.*by 255"),
        ("a.npy", saved(np.full((2, 4), -1)), "-1"),
        ("a.npy", saved(np.full((2, 4), 99.5)), "99.5 to 99.5.*by 255"),
        ("a.npy", saved(np.zeros((3, 4), int)), "4x2 pixels"),
    ],
)
def test_what_is_no_probability_is_refused_as_what_it_is(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_probabilities(tmp_path / name, (2, 4), None)


def test_voc_s_names_are_for_probabilities_of_21_classes():
    assert class_names(None, 21, ids=False) == VOC_CLASSES
    assert class_names(None, 21, ids=True)[15] == class_names(None, 20, ids=False)[15] == "class 15"
