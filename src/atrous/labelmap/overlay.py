"""A picture of a segmentation: the photo, its regions colored, outlined and named."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from atrous.errors import InputError
from atrous.labelmap._label_placement import connected_regions, place_for_box
from atrous.labelmap.png import SOFTWARE
from atrous.labelmap.voc_colormap import VOID, full_palette

GRID = 160  # cells along the longer side in which regions are found and names placed
SIZEABLE = 0.004  # share of the picture from which a region gets its name
SMALLEST_TEXT = 9  # pixels; below this a name cannot be read


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    palette: ArrayLike | None = None,
    *,
    opacity: float = 0.45,
    names: bool = True,
) -> Image.Image:
    """Draw labels over their photo.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    labels
        (H, W) uint8 ids. 0 is background and stays uncolored, as does void (255).
    classes
        The name of each id.
    palette
        (n, 3) colors; VOC's for ids beyond it. They are drawn lighter than in the mask, so that the
        photo shows through.
    opacity
        How much of a region's color covers the photo, 0 to 1.
    names
        Write each sizeable region's class on it, or beside it where it is small.
    """
    if image.shape != (*labels.shape, 3):
        raise InputError(f"labels {labels.shape} do not fit an image of shape {image.shape}")
    colors = lightened(full_palette(palette))
    objects = (labels != 0) & (labels != VOID)

    share = round(opacity * 256)
    photo = np.multiply(image, 256 - share, dtype=np.uint16)
    blended = (photo + np.multiply(colors[labels], share, dtype=np.uint16)) >> 8
    drawn = np.where(objects[..., None], blended, image).astype(np.uint8)

    width = max(1, round(max(labels.shape) / 500))
    border = _inner_border(labels, width) & objects
    drawn[border] = colors[labels[border]]
    drawn[_outer_border(labels, border, objects, width)] = 255

    picture = Image.fromarray(drawn)
    if names:
        _draw_names(picture, labels, classes, colors)
    return picture


def overlay_jpeg(picture: Image.Image) -> bytes:
    """Return an overlay as a JPEG, marked as made by this package."""
    content = io.BytesIO()
    # Full color resolution keeps the outlines crisp.
    picture.save(content, format="JPEG", quality=92, subsampling=0, comment=SOFTWARE)
    return content.getvalue()


def lightened(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colors, (n, 3) uint8, as an overlay draws them."""
    # VOC's colors are mostly half as bright as can be; the square root keeps them apart and lifts them.
    return np.rint(255 * np.sqrt(palette / 255)).astype(np.uint8)


def _inner_border(labels: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels within `width` of a pixel with another label, along a row or a column."""
    border = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        lines, found = np.moveaxis(labels, axis, 0), np.zeros(labels.shape, dtype=bool)
        near = np.moveaxis(found, axis, 0)
        changes = lines[1:] != lines[:-1]
        near[1:] |= changes
        near[:-1] |= changes
        # Doubled again and again: long photos have wide borders.
        reach = 1
        while reach < width:
            step = min(reach, width - reach)
            before = near.copy()
            near[step:] |= before[:-step]
            near[:-step] |= before[step:]
            reach += step
        border |= found
    return border


def _outer_border(
    labels: NDArray[np.uint8], border: NDArray[np.bool_], objects: NDArray[np.bool_], width: int
) -> NDArray[np.bool_]:
    """Background pixels that touch a region: a thin white line makes its edge visible on any photo."""
    return _inner_border(labels, width) & ~objects & (labels != VOID) & ~border


def _draw_names(
    picture: Image.Image, labels: NDArray[np.uint8], classes: Sequence[str], colors: NDArray[np.uint8]
) -> None:
    step = -(-max(labels.shape) // GRID)
    grid = labels[step // 2 :: step, step // 2 :: step]
    if grid.size == 0:
        return
    regions = connected_regions(grid)
    objects = (grid != 0) & (grid != VOID)
    taken = np.zeros(grid.shape, dtype=bool)
    draw = ImageDraw.Draw(picture)

    found, sizes = np.unique(regions[objects], return_counts=True)
    for index in np.argsort(-sizes, kind="stable"):
        if sizes[index] < SIZEABLE * grid.size:
            break
        label = int(grid.flat[found[index]])
        name = classes[label] if label < len(classes) else f"class {label}"
        for size in _text_sizes(max(picture.size)):
            font = ImageFont.load_default(size)
            margin = max(2, size // 4)
            left, _, right, _ = draw.textbbox((0, 0), name, font=font)
            ascent, descent = _metrics(font)
            box_width = int(np.ceil(right - left)) + 2 * margin
            box_height = ascent + descent + margin
            # one cell more than the box needs keeps it inside the picture when a cell is cut at its end
            cells = (-(-box_height // step), -(-box_width // step))
            if box_height > picture.height or box_width > picture.width:
                continue
            place = place_for_box(regions == found[index], objects, taken, *cells)
            if place is None:
                continue
            row, column = place
            taken[row : row + cells[0], column : column + cells[1]] = True
            x = min(column * step, picture.width - box_width)
            y = min(row * step, picture.height - box_height)
            fill = tuple(int(channel) for channel in colors[label])
            dark = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] < 140
            draw.rounded_rectangle(
                (x, y, x + box_width - 1, y + box_height - 1),
                radius=margin,
                fill=fill,
                outline="white" if dark else "black",
                width=max(1, size // 16),
            )
            draw.text((x + margin - left, y + margin / 2), name, font=font, fill="white" if dark else "black")
            break


def _text_sizes(longer_side: int) -> list[int]:
    full = max(SMALLEST_TEXT, round(0.034 * longer_side))
    return sorted({full, max(SMALLEST_TEXT, round(0.7 * full)), SMALLEST_TEXT}, reverse=True)


def _metrics(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    return 11, 0  # Pillow built without FreeType has one small bitmap font
