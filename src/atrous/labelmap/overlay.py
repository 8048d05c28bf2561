"""Overlay of a label map: the dimmed image with colored, outlined and named regions."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from atrous.errors import InputError
from atrous.labelmap.class_names import display_name, is_background
from atrous.labelmap.fonts import font_for
from atrous.labelmap.png import SOFTWARE
from atrous.labelmap.regions import connected_regions
from atrous.labelmap.voc_colormap import VOID, full_palette, voc_palette

OPACITY = 0.45
_DIMMED = 0.7  # brightness factor of pixels without a class
_OUTLINE = 1 / 350  # width, in the image's longer side
_THINNEST_OUTLINE = 1.5  # pixels

GRID = 160  # cells along the longer side in which regions are found and names placed
SIZEABLE = 0.01  # smallest share of the image of a named region
SMALLEST_TEXT = 9  # pixels; smaller text is illegible
# Names are drawn near this share of a region's height, because faces are in the upper part of people and animals.
_LOW = 0.8

# Vivid colors, far apart in OKLab for normal and, to 0.6 of that, for red-green blind eyes (matrices of Machado et al.
# 2009). Order: VOC's classes from aeroplane on.
_COLORS = """0087ff 87ff00 ff96c3 e10000 b4f087 b44b4b 3ce1ff ffb400 7878d2 d2960f b40069 6900ff
2db4ff 00e187 e12d87 1e7800 e1694b 784ba5 9600d2 00b478 2dffe1 f01ed2 d278b4 ff78f0"""


def overlay_palette(palette: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Return the colors of overlays, (256, 3) uint8, by label id.

    Parameters
    ----------
    palette : (n, 3), optional
        Colors of a label map. VOC's colors, which are dark and alike, are replaced by vivid ones; others are used
        unchanged. Default: VOC's.
    """
    given = full_palette(palette)
    if palette is not None and not np.array_equal(np.asarray(palette), voc_palette(len(np.asarray(palette)))):
        return given
    vivid = np.array([list(bytes.fromhex(color)) for color in _COLORS.split()], np.uint8)
    colors = vivid[(np.arange(256) - 1) % len(vivid)]
    colors[0] = 128
    return colors


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    palette: ArrayLike | None = None,
    *,
    opacity: float = OPACITY,
    names: bool = True,
) -> Image.Image:
    """Draw a label map over its image.

    Parameters
    ----------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids. Void (255) is not colored, and neither is class 0 if its name is background.
    classes : sequence of str
        Class names by id.
    palette : (n, 3), optional
        Colors by id; see `overlay_palette`.
    opacity : float
        Share of a region's color in its pixels, 0 to 1.
    names : bool
        Whether to write the class on each region that covers at least 1 % of the image.

    Raises
    ------
    InputError
        If the shapes differ, or the opacity is outside 0 to 1.
    """
    if image.shape != (*labels.shape, 3):
        raise InputError(f"labels: expected the shape {image.shape[:2]} of the image, got {labels.shape}")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity={opacity}: expected 0 to 1")
    colors = overlay_palette(palette)
    shown = np.ones(256, bool)
    shown[VOID] = False
    shown[0] = not (len(classes) and is_background(classes[0]))
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))

    original = Image.fromarray(image)
    ids = Image.fromarray(labels)
    colored = ids.copy()
    colored.putpalette(colors.tobytes())
    colored = Image.blend(original, colored.convert("RGB"), opacity)
    # Also where nothing is found, or the frames of a video would change in brightness.
    dimmed = original.point([round(_DIMMED * value) for value in range(256)] * 3)
    drawing = Image.composite(colored, dimmed, ids.point([255 * bool(each) for each in shown]))
    if len(present) > 1:
        drawing.paste((255, 255, 255), mask=_outlines(labels, present))
    if names:
        _draw_names(drawing, labels, shown, classes, colors)
    return drawing


def overlay_jpeg(drawing: Image.Image) -> bytes:
    """Return an overlay as a JPEG, marked as an output of this package."""
    content = io.BytesIO()
    # Full color resolution keeps the outlines crisp.
    drawing.save(content, format="JPEG", quality=92, subsampling=0, comment=SOFTWARE)
    return content.getvalue()


def _outlines(labels: NDArray[np.uint8], present: NDArray[np.intp]) -> Image.Image:
    """Return the opacity of the lines between regions, an "L" image.

    Each class' mask is blurred; a line runs where the largest of the blurred masks is small. It is smooth, because the
    blur rounds off the steps of pixels, and is as wide as the blur.
    """
    width = max(_THINNEST_OUTLINE, _OUTLINE * max(labels.shape))
    blur = ImageFilter.GaussianBlur(width)
    rest = np.full(labels.shape, 255, np.uint8)  # of all blurred masks together, which sum to 255
    largest = np.zeros(labels.shape, np.uint8)
    for label in present[:-1]:
        mask = Image.fromarray(np.where(labels == label, np.uint8(255), np.uint8(0)))
        blurred = np.minimum(np.asarray(mask.filter(blur)), rest)
        rest -= blurred
        np.maximum(largest, blurred, out=largest)
    np.maximum(largest, rest, out=largest)
    # In the middle of a straight line between two classes the largest is 128; at its edges, some 0.6 widths away, 185.
    ramp = np.clip((190 - np.arange(256)) / (190 - 145), 0, 1)
    return Image.fromarray(np.rint(235 * ramp * ramp * (3 - 2 * ramp)).astype(np.uint8)[largest])


def _draw_names(
    drawing: Image.Image,
    labels: NDArray[np.uint8],
    shown: NDArray[np.bool_],
    classes: Sequence[str],
    colors: NDArray[np.uint8],
) -> None:
    step = -(-max(labels.shape) // GRID)
    grid = labels[step // 2 :: step, step // 2 :: step]
    if grid.size == 0:
        return
    regions = connected_regions(grid)
    objects = shown[grid]
    taken = np.zeros(grid.shape, dtype=bool)
    draw = ImageDraw.Draw(drawing)

    sizes = np.bincount(regions[objects], minlength=1)
    for region in np.argsort(-sizes, kind="stable"):
        if sizes[region] < SIZEABLE * grid.size:
            break
        here = regions == region
        label = int(grid[here][0])
        name = display_name(classes[label]) if label < len(classes) else f"class {label}"
        for size in _text_sizes(max(drawing.size)):
            name, font = font_for(name, size, f"class {label}")
            margin = max(2, size // 4)
            left, _, right, bottom = draw.textbbox((0, 0), name, font=font)
            _, _, _, height = draw.textbbox((0, 0), "Ag", font=font)
            box_width = int(np.ceil(right - left)) + 2 * margin
            box_height = int(np.ceil(max(bottom, height))) + margin
            # One cell more than the box needs keeps it inside the image where a cell is cut at its end.
            cells = (-(-box_height // step), -(-box_width // step))
            if box_height > drawing.height or box_width > drawing.width:
                continue
            place = place_for_box(here, objects, taken, *cells)
            if place is None:
                continue
            row, column = place
            taken[row : row + cells[0], column : column + cells[1]] = True
            x = min(column * step, drawing.width - box_width)
            y = min(row * step, drawing.height - box_height)
            fill = tuple(int(channel) for channel in colors[label])
            dark = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] < 140
            box = (x, y, x + box_width - 1, y + box_height - 1)
            draw.rounded_rectangle(box, radius=margin, fill=fill)
            draw.text((x + margin - left, y + margin / 2), name, font=font, fill="white" if dark else "black")
            break


def _text_sizes(longer_side: int) -> list[int]:
    full = max(SMALLEST_TEXT, round(0.034 * longer_side))
    return sorted({full, max(SMALLEST_TEXT, round(0.7 * full)), SMALLEST_TEXT}, reverse=True)


def box_sums(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Sum `values` (h, w) over every height x width box that lies inside: (h-height+1, w-width+1)."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    return sums.astype(np.float32)


def place_for_box(
    region: NDArray[np.bool_],
    objects: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    height: int,
    width: int,
) -> tuple[int, int] | None:
    """Return the best place for a name's box: low on its region if there is room, beside it if it is small.

    Parameters
    ----------
    region, objects, taken : (h, w) bool
        The region of the name, all regions with names, and the boxes placed before.
    height, width : int
        Size of the box in cells of the same grid.

    Returns
    -------
    (row, column) or None
        The box's first cell, with the whole box inside the grid; None if no place is free.
    """
    if height > region.shape[0] or width > region.shape[1]:
        return None
    area = height * width
    inside = box_sums(region.astype(np.float32), height, width)
    others = box_sums((objects & ~region).astype(np.float32), height, width) / area
    overlap = box_sums(taken.astype(np.float32), height, width) / area

    rows, columns = np.nonzero(region)
    low = np.quantile(rows, _LOW)
    near = columns[np.abs(rows - low) <= height / 2]  # of the region at that height
    row_offset = np.arange(inside.shape[0])[:, None] + height / 2 - (low + 0.5)
    column_offset = np.arange(inside.shape[1])[None, :] + width / 2 - (near.mean() + 0.5)
    distance = np.hypot(row_offset, column_offset) / np.hypot(*region.shape)

    hidden = inside / len(rows)
    merit = inside / area - 6 * hidden - others - 3 * distance
    merit = np.where(overlap > 0, -np.inf, merit)
    best = int(merit.argmax())
    if not np.isfinite(merit.flat[best]):
        return None
    row, column = divmod(best, merit.shape[1])
    return row, column
