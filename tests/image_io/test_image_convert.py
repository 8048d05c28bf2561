import numpy as np
import pytest
from PIL import Image

from atrous.image_io import _convert as convert
from atrous.image_io._convert import to_rgb
from atrous.image_io.base import Unsupported

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I"])
def test_large_images_are_converted_in_bands(monkeypatch, mode):
    image = Image.fromarray(NOISE).convert("RGB" if mode in ("P", "YCbCr", "HSV") else "RGBA")
    if mode.startswith("I"):
        deep = NOISE[..., 0].astype(np.int32) * 257
        image = Image.fromarray(deep.astype(np.uint16) if mode == "I;16" else deep)
    elif mode != "RGBA":
        image = image.convert(mode if mode not in ("1", "L", "LA", "CMYK") else "RGB").convert(mode)
    whole = to_rgb(image)
    assert whole.shape == (40, 60, 3)
    assert whole.dtype == np.uint8
    monkeypatch.setattr(convert, "_BAND", 60 * 7)
    assert np.array_equal(to_rgb(image), whole)


def test_a_palette_with_a_transparent_color_in_bands(monkeypatch):
    image = Image.fromarray(NOISE[..., :3]).quantize(16)
    image.info["transparency"] = 3
    whole = to_rgb(image)
    assert (whole[np.asarray(image) == 3] == 255).all()
    monkeypatch.setattr(convert, "_BAND", 60)
    assert np.array_equal(to_rgb(image), whole)


def test_sixteen_bit_gray():
    deep = Image.fromarray(np.array([[0, 0x0FFF, 0x8000, 0xFFFF]], np.uint16))
    assert to_rgb(deep)[0, :, 0].tolist() == [0, 15, 128, 255]
    assert to_rgb(deep, inverted=True)[0, :, 0].tolist() == [255, 240, 127, 0]
    assert to_rgb(deep, transparent=0x8000)[0, :, 0].tolist() == [0, 15, 255, 255]
    assert to_rgb(Image.fromarray(np.array([[0, 0x0FFF]], np.uint16)), shift=4)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("F", (3, 3)), "floating-point"),
        (Image.fromarray(np.array([[0, 70_000]], np.int32)), "16 unsigned bits"),
        (Image.fromarray(np.array([[-1, 7]], np.int32)), "16 unsigned bits"),
        (Image.new("La", (3, 3)), "La"),
    ],
)
def test_what_has_no_colors(image, says):
    with pytest.raises(Unsupported, match=says):
        to_rgb(image)
