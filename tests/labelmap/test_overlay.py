import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.errors import InputError
from atrous.labelmap import fonts, overlay, voc_palette
from atrous.labelmap.class_names import display_name
from atrous.labelmap.fonts import font_for
from atrous.labelmap.overlay import box_sums, overlay_palette, place_for_box


def test_box_sums():
    assert box_sums(np.arange(6, dtype=np.float32).reshape(2, 3), 2, 2).tolist() == [[8, 12]]


def test_a_name_lies_on_a_roomy_region_and_beside_a_small_one():
    roomy = np.zeros((40, 60), bool)
    roomy[10:35, 20:55] = True
    free = np.zeros_like(roomy)
    row, column = place_for_box(roomy, roomy, free, 4, 12)
    assert roomy[row : row + 4, column : column + 12].all()
    small = np.zeros_like(roomy)
    small[20:23, 30:34] = True
    row, column = place_for_box(small, small, free, 4, 12)
    assert not small[row : row + 4, column : column + 12].any()


def test_a_name_lies_low_on_a_person():
    person = np.zeros((60, 40), bool)
    person[5:15, 16:24] = True  # the head
    person[15:60, 10:32] = True
    row, column = place_for_box(person, person, np.zeros_like(person), 4, 12)
    assert row >= 35
    assert person[row : row + 4, column : column + 12].all()


def test_no_place_is_free():
    region = np.ones((4, 4), bool)
    assert place_for_box(region, region, region, 2, 2) is None
    assert place_for_box(region, region, ~region, 5, 2) is None


def square(value=1):
    labels = np.zeros((60, 80), np.uint8)
    labels[20:40, 30:60] = value
    return labels


def test_regions_are_colored_and_the_rest_is_dimmed():
    image = np.full((60, 80, 3), 100, np.uint8)
    drawn = np.asarray(overlay(image, square(), ("background", "thing"), names=False, opacity=0.5))
    assert drawn[5, 5].tolist() == [70, 70, 70]
    assert np.abs(drawn[30, 45] - (100 + overlay_palette()[1].astype(int)) / 2).max() <= 1
    # One white line, soft at both sides: brightest between the regions.
    line = drawn[12:28, 45].astype(int).sum(axis=1)
    assert set(np.argsort(line)[-2:]) == {19 - 12, 20 - 12}
    assert line.max() > 600
    assert (np.diff(line[:8]) >= 0).all()


def test_an_image_of_background_alone_is_dimmed_too():
    """Else a video would grow brighter wherever nothing is found."""
    image = np.full((60, 80, 3), 100, np.uint8)
    assert (np.asarray(overlay(image, square(0), ("background", "thing"))) == 70).all()


@pytest.mark.parametrize(("name", "colored"), [("background", False), ("_background_", False), ("sky", True)])
def test_class_0_is_colored_unless_it_is_the_background(name, colored):
    image = np.full((60, 80, 3), 100, np.uint8)
    drawn = np.asarray(overlay(image, square(), (name, "thing"), [(0, 200, 0), (200, 0, 0)], names=False))
    assert (len(set(drawn[5, 5].tolist())) > 1) == colored
    assert (drawn[5, 5, 1] > drawn[5, 5, 0]) == colored


def test_vocs_dark_colors_are_replaced_and_others_are_not():
    mine = [(1, 2, 3), (4, 5, 6)]
    assert overlay_palette(mine)[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    for palette in (None, voc_palette(21)):
        colors = overlay_palette(palette)[1:21].astype(int)
        assert colors.max(axis=1).min() >= 120
        assert (np.abs(colors[:, None] - colors[None]).sum(axis=2) + 1000 * np.eye(20)).min() >= 60


# Linear RGB as red-green blind eyes see it (Machado et al. 2009, severity 1), and to OKLab (Ottosson 2020).
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
CONES = [
    [0.41222147, 0.53633254, 0.05144599],
    [0.21190350, 0.68069955, 0.10739696],
    [0.08830246, 0.28171884, 0.62997870],
]
LAB = [
    [0.21045426, 0.79361779, -0.00407205],
    [1.97799850, -2.42859221, 0.45059371],
    [0.02590404, 0.78277177, -0.80867577],
]


@pytest.mark.parametrize(("eyes", "least"), [(np.eye(3), 0.1), (DEUTERANOPIA, 0.06), (PROTANOPIA, 0.06)])
def test_colors_differ_for_all_eyes(eyes, least):
    colors = overlay_palette()[1:25] / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(np.clip(linear @ np.transpose(eyes), 0, 1) @ np.transpose(CONES)) @ np.transpose(LAB)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + np.eye(24)
    assert apart.min() >= least


def test_outlines_scale_with_the_image():
    widths = []
    for factor in (1, 8):
        labels = np.kron(square(), np.ones((factor, factor), np.uint8))
        drawn = np.asarray(overlay(np.zeros((*labels.shape, 3), np.uint8), labels, ("background",), names=False))
        column = drawn[: 30 * factor, 45 * factor].min(axis=1)
        widths.append((column > 60).sum())
    assert widths[0] >= 2
    assert widths[1] >= widths[0]


@pytest.mark.parametrize("opacity", [-0.1, 1.1])
def test_opacity_is_a_share(opacity):
    with pytest.raises(InputError, match="opacity"):
        overlay(np.zeros((60, 80, 3), np.uint8), square(), (), opacity=opacity)


def test_names_are_written():
    image = np.zeros((200, 300, 3), np.uint8)
    labels = np.zeros((200, 300), np.uint8)
    labels[50:150, 100:250] = 1
    plain, named = (np.asarray(overlay(image, labels, ("background", "thing"), names=n)) for n in (False, True))
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert 50 <= rows.min() <= rows.max() < 150
    assert 100 <= columns.min() <= columns.max() < 250


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_labels_can_be_drawn(labels):
    image = np.zeros((*labels.shape, 3), np.uint8)
    assert overlay(image, labels, ("background", "a long name of a class")).size == labels.shape[::-1]


def test_labels_have_to_fit():
    with pytest.raises(InputError, match="labels"):
        overlay(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), ("a",))


def test_the_names_of_voc_get_their_spaces():
    assert [display_name(name) for name in ("diningtable", "tvmonitor", "traffic_light", "cow", "_")] == [
        *("dining table", "tv monitor", "traffic light", "cow", "_")
    ]


@pytest.mark.parametrize("text", ["cat", "Übermut", "кошка", "γάτα"])
def test_fonts_have_the_characters(text):
    shown, font = font_for(text, 20, "class 1")
    if shown != text:
        pytest.skip("no font with these characters on this machine")
    assert len({bytes(font.getmask(character)) for character in text.lower()}) == len(set(text.lower()))


def test_without_a_font_accents_are_dropped_or_the_number_is_written(monkeypatch):
    fonts._font_with.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", list)
    assert font_for("ǅ\u0338ǅ", 20, "class 3")[0] != "ǅ\u0338ǅ"
    assert font_for("\U0001f408", 20, "class 3")[0] == "class 3"
    fonts._font_with.cache_clear()


def test_a_font_whose_layout_fails_does_not_have_the_character(monkeypatch):
    from PIL import ImageFont

    def getmask(font, text, *args, **options):
        raise ValueError("raqm_get_glyphs() failed.")

    fonts._font_with.cache_clear()
    monkeypatch.setattr(ImageFont.FreeTypeFont, "getmask", getmask)
    assert font_for("中", 12, "class 3")[0] == "class 3"
    fonts._font_with.cache_clear()


def test_a_name_that_cannot_be_laid_out_is_drawn_as_its_number(monkeypatch):
    from PIL import ImageFont

    real = ImageFont.FreeTypeFont.getbbox

    def getbbox(font, text, *args, **options):
        if "中" in text:
            raise ValueError("raqm_get_glyphs() failed.")
        return real(font, text, *args, **options)

    monkeypatch.setattr(ImageFont.FreeTypeFont, "getbbox", getbbox)
    monkeypatch.setattr(fonts, "_font_with", lambda characters, size: ImageFont.load_default(size))
    assert font_for("中", 12, "class 3")[0] == "class 3"
    assert font_for("cat", 12, "class 3")[0] == "cat"
